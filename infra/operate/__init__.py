"""The operator's commands: what an administrator asks of buckets that stand, from a terminal.

command   the words on the command line
verifying redoing estimating   one run of a command: places opened, the deed done, the outcome told
verify    a walk over the output bucket, and over the input bucket beside it; one document in memory at a time
checks    what must hold of a document, as pure functions over values
findings  the words for what was found
shelf     where the objects are: a bucket of Cloud Storage, or a folder of the laptop's outbox
report    what was found, for people and for scripts
counting  how many documents and pages there are, and how sure that is
bill      what they cost, at a price list's prices (prices, prices.toml)
forecast  how long they take on so many GPUs, and how long those are paid for
capacity  what an L4 and Google's services do with pages: the facts, with where they come from
deployment   what is deployed for a number of GPUs, read from the deploy scripts
"""
