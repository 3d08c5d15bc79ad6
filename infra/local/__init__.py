"""The laptop cloud: the functions as they are, with buckets, Pub/Sub and OCR on one machine.

command     the words on the command line
session     one run: lends the outbox, starts the cloud, drops files, shows results
outbox      the user's folder as the output bucket, and back
cloud       which programs there are, how they find each other
subscriptions   who is pushed what
supervisor  keeps programs running; `processes` is one of them, `undertaker` ends them if it is killed
bucket_server, bucket_client    Cloud Storage on a folder, and how we ask it
broker      Pub/Sub in this process; `journal` is how it could outlive that
emulator    Google's Pub/Sub emulator in its place, if so chosen
events      an upload becomes the CloudEvent that Eventarc would send
schedule    calls the sweep's door every ten minutes, as Cloud Scheduler would; `sweeping` does so by hand
inbox       which files are meant, how they are named, when they are whole
progress    how far documents are, seen from outside
display     bars, table, reasons
logbook     what was unexpected; `errors`: what ends a run
"""
