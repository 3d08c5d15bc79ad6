"""The operator's commands: what an administrator asks of buckets that stand, from a terminal.

command   the words on the command line
verifying redoing   one run of a command: places opened, the deed done, the outcome told
verify    a walk over the output bucket, and over the input bucket beside it; one document in memory at a time
checks    what must hold of a document, as pure functions over values
findings  the words for what was found
shelf     where the objects are: a bucket of Cloud Storage, or a folder of the laptop's outbox
report    what was found, for people and for scripts
"""
