#!/usr/bin/env bash
# Everything, from an empty project to a bucket that turns documents into Markdown.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/up.sh [--dry-run]
Makes or mends all of bucketscribe in PROJECT, in this order: APIs, accounts, image registry, buckets, topics, the GPU
service (not with OCR_URL), the worker functions, subscriptions, on_upload, the scheduler, monitoring. What stands as
it should is left alone, so it goes on where a first try stopped, and a second run changes nothing.
  --dry-run   looks, and prints the commands that would change something, without running them
Settings stand in bucketscribe.env (see bucketscribe.env.example). The first run takes about 45 minutes, most of them
for the GPU service's image. Each script beside this one also runs alone; each has a --help.
HELP
no_arguments

run() {
  "$@" || die "stopped at: ${*#"$ROOT/"}; mend what it says and run up.sh again, it goes on from there"
}

run "$GCP/apis.sh"
run "$GCP/service_accounts.sh"
run "$GCP/registry.sh"
run "$GCP/buckets.sh"
run "$GCP/topics.sh"
run "$ROOT/gpu_service/deploy.sh"
run "$GCP/functions.sh" workers
run "$GCP/subscriptions.sh"
run "$GCP/functions.sh" fan-out
run "$GCP/scheduler.sh"
run "$GCP/monitoring.sh"

[[ -z $DRY_RUN ]] || { say "" && say "Nothing was changed: this was a dry run." && exit 0; }
cat <<END

bucketscribe stands in $PROJECT. Try it:
  gcloud storage cp samples/documents/table.pdf gs://$INPUT_BUCKET/
  gcloud storage cat gs://$OUTPUT_BUCKET/documents/table.pdf.md    # in two to four minutes: the GPU starts first
END
