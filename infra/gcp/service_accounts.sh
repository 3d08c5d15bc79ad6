#!/usr/bin/env bash
# The accounts that everything runs as, and what they may do on the project itself. What they may do on a bucket,
# a topic or a service is granted by the script that makes that thing.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/service_accounts.sh [--dry-run]
Makes a service account for each function, for Pub/Sub's pushes, Eventarc's trigger, the scheduler and the builds.
The GPU service's account is made by setup-lightonocr-sa.sh. infra/README.md lists what each may do.
HELP
no_arguments

step "Service accounts"
account "$ON_UPLOAD_ACCOUNT" "bucketscribe: on_upload"
account "$ON_PAGE_TASK_ACCOUNT" "bucketscribe: on_page_task"
account "$ON_DEAD_LETTER_ACCOUNT" "bucketscribe: on_dead_letter"
account "$SWEEP_ACCOUNT" "bucketscribe: sweep"
account "$PUSH_ACCOUNT" "bucketscribe: Pub/Sub pushes page tasks as this"
account "$TRIGGER_ACCOUNT" "bucketscribe: Eventarc delivers uploads as this"
account "$SCHEDULER_ACCOUNT" "bucketscribe: Cloud Scheduler calls sweep as this"
account "$BUILD_ACCOUNT" "bucketscribe: builds run as this"

step "What they may do on the project"
number=$(project_number)
grant roles/eventarc.eventReceiver "$(member "$TRIGGER_ACCOUNT")" projects "$PROJECT"
grant roles/logging.logWriter "$(member "$BUILD_ACCOUNT")" projects "$PROJECT"

# Builds read their source from buckets that Google makes with the first build, so there is nothing yet to grant it
# on; the condition keeps the account out of all other buckets, above all those with the documents.
CONDITION="resource.name.startsWith('projects/_/buckets/gcf-v2-sources-$number-$REGION/') || \
resource.name.startsWith('projects/_/buckets/$STAGING_BUCKET/')" \
  grant roles/storage.objectViewer "$(member "$BUILD_ACCOUNT")" projects "$PROJECT"

# Cloud Storage tells Eventarc of uploads through Pub/Sub, as an account of Google's own; asking for it makes it.
found storage service-agent || FOUND=service-$number@gs-project-accounts.iam.gserviceaccount.com
grant roles/pubsub.publisher "serviceAccount:$FOUND" projects "$PROJECT"
