"""A world drawn from a seed, in which the real doors and deeds run unchanged, on virtual time.

    __main__    the command: one seed replayed, many run, the mutations' table
    world       one run: people act, the weather passes, the post delivers, until all is at rest
    invariants  what must be true at every moment, and at the end
    mutations   each protection broken on purpose, from outside, to see that it is missed
    plan        all that is drawn before a run: settings, documents, acts, weather
    post        events and messages: late, twice, out of order, again after a refusal, dead letters
    instances   the processes behind a door: built as main builds them, killed, replaced
    wire        the line between an instance and the cloud: latency, refusals, lost answers, late writes
    machines    the model and the renderer, in all their moods
    watch       what happened, as facts that the invariants look at, and a history to read
    loop        an event loop whose time jumps to the next timer and whose order is drawn

A failing seed replays exactly: `python -m tests.simulator --seed N`. What breaks at each single request of a
document's way, one at a time and without chance, stands in tests/test_crashes.py.
"""
