"""How busy the GPUs are, how long a page waits, what is lost: the real deeds in a model of the cloud, on
virtual time. `make bench BENCH=flow` measures; two runs say the same.

    bench       the runs that are shown, their table, their plot
    simulation  one run, from a scenario to its figures
    world       a project: both functions, both lanes, the GPU service, what befalls them
    house       an instance, wired as main wires it, over fakes that take their time
    cloud_run   a service: instances that start, fill up and go; callers held, then refused
    pubsub      a push subscription: window, back-off, retries, dead letters
    l4          vLLM on an L4, by processor sharing
    stack       real runs of the same scenarios (`make bench BENCH=stack`)
    laptop      the laptop's cloud for them, before `served`
    served      the modelled L4s, time running faster, behind vLLM's HTTP
    scenarios   what people drop         measures  what is seen of it         timing  the time shown
    plots       what both draw

What an L4 and Google's services do stands in infra/operate/capacity.py, what is deployed in infra/gcp/env.sh,
by way of infra/operate/deployment.py. Real are the deeds with all their rooms; the model leaves out slow or
lost requests to Cloud Storage, deploys, GPUs that differ, and answers that are no good.
"""

from tests.bench.flow.bench import plot, run, table

__all__ = ["plot", "run", "table"]
