"""Documents are read on the laptop cloud while its programs are killed at random; then nothing may be lost.

    __main__    the command behind `make chaos`
    options     what is asked of a run: how many documents, which seed, who is killed and how often
    run         one run: drop, kill, wait for the end, have it judged
    watch       how far it is, and whether it still moves
    story       what happened
    documents   what is dropped, drawn from the seed, and how each page may end by its own nature
    redoing     what failed is asked for once more, by `bucketscribe redo`
    city        the laptop cloud, with `post` and `front` as programs beside the doors and the stand-in
    post        the broker in a process of its own: each message up to three times, none lost when it dies
    journal     what the broker has taken, on disk
    front       stands before the stand-in and spoils a share of its answers
    faults      every way to spoil one, and what a page may fail with because of it
    account     what the front did to which page
    judge       every document held against its nature and against that account
    report      the summary

Time is real here, so a seed draws the same documents, but no run is like another. What must replay, and the
thousands of worlds, are `tests/simulator`; here the processes, the sockets and the signals are real.
"""
