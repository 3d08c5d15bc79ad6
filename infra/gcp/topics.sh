#!/usr/bin/env bash
# The topics, and who may publish to them.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/topics.sh [--dry-run]
Makes the topics: two lanes of page tasks, dead letters, and finished documents, to which your own jobs subscribe.
HELP
no_arguments

# topic NAME PUBLISHER…
topic() {
  local name=$1 publisher
  shift
  found pubsub topics describe "$name" --format='value(name)' || change cloud pubsub topics create "$name"
  for publisher in "$@"; do
    grant roles/pubsub.publisher "serviceAccount:$publisher" "pubsub topics" "$name"
  done
}

step "Topics"
agent=service-$(project_number)@gcp-sa-pubsub.iam.gserviceaccount.com
upload=$(account_email "$ON_UPLOAD_ACCOUNT")
page=$(account_email "$ON_PAGE_TASK_ACCOUNT")
dead=$(account_email "$ON_DEAD_LETTER_ACCOUNT")
sweep=$(account_email "$SWEEP_ACCOUNT")
topic "$EXPRESS_TOPIC" "$upload" "$dead" "$sweep"
topic "$BULK_TOPIC" "$upload" "$dead" "$sweep"
# Pub/Sub itself, as its agent, moves a message here after the last delivery attempt. A new project has no agent yet.
topic "$DEAD_TOPIC"
granted roles/pubsub.publisher "serviceAccount:$agent" '' "pubsub topics" "$DEAD_TOPIC" || agent pubsub
topic "$DEAD_TOPIC" "$agent"
# Whoever ends a document announces it; on_upload ends those that cannot be opened.
topic "$FINISHED_TOPIC" "$upload" "$page" "$dead" "$sweep"
