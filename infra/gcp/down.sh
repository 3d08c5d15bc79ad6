#!/usr/bin/env bash
# The reverse of up.sh.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/down.sh [--dry-run] [--yes] [--with-buckets]
Removes what up.sh made, uploads' function first so that nothing new comes in. Asks before it begins.
  --yes            does not ask
  --with-buckets   the two buckets go too, with every document and every result in them
Without --with-buckets both buckets stay. Documents in flight stay unfinished in the output bucket, and the sweep of a
later up.sh resumes them; what is dropped in between is not seen (README: what already lies in the bucket). The project,
the APIs, the right of Cloud Storage's agent to publish, and the buckets where Google keeps the sources of builds stay.
HELP

NOTHING_TO_WAIT_FOR=1 # behind an API that is off there is nothing to remove
with_buckets='' yes=''
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $argument in
  --yes) yes=1 ;;
  --with-buckets) with_buckets=1 ;;
  *) usage "it takes no $argument" ;;
  esac
done

# remove DESCRIBE… -- DELETE…: deletes what can be described; both are gcloud's words.
remove() {
  local look=()
  while [[ $1 != -- ]]; do
    look+=("$1")
    shift
  done
  shift
  if found "${look[@]}" --format='value(name)'; then
    change cloud "$@"
  fi
}

# revoke ROLE MEMBER TITLE: takes a right on the project back.
revoke() {
  local condition=(--condition=None)
  granted "$1" "$2" "$3" projects "$PROJECT" || return 0
  [[ -z $3 ]] || condition=(--all)
  change cloud projects remove-iam-policy-binding "$PROJECT" \
    --role="$1" --member="$2" "${condition[@]}" --format=none
}

# A mistyped project has none of the things below, and all would seem well.
project_number >/dev/null
say "This removes bucketscribe from the project $PROJECT: functions, topics with all messages in them, the GPU service,"
say "images, service accounts, the scheduler's job, the build trigger and the alerts."
if [[ -n $with_buckets ]]; then
  say "It also deletes gs://$INPUT_BUCKET and gs://$OUTPUT_BUCKET WITH EVERYTHING IN THEM."
else
  say "gs://$INPUT_BUCKET and gs://$OUTPUT_BUCKET stay."
fi
if [[ -z $yes && -z $DRY_RUN ]]; then
  read -r -p "Type the project's name to go on: " answer || true
  [[ ${answer:-} == "$PROJECT" ]] || die "that was not $PROJECT; nothing was removed"
fi

in_region=--region=$REGION
builds_at=--region=$BUILD_REGION
at=--location=$REGION
trigger_at=--location=$(lower "$BUCKET_LOCATION")

step "What brings work in"
remove builds triggers describe "$BUILD_TRIGGER" "$builds_at" -- builds triggers delete "$BUILD_TRIGGER" "$builds_at"
remove eventarc triggers describe "$DELETED_TRIGGER" "$trigger_at" -- \
  eventarc triggers delete "$DELETED_TRIGGER" "$trigger_at"
name=$(function_name on_upload)
remove functions describe "$name" --gen2 "$in_region" -- functions delete "$name" --gen2 "$in_region"
remove scheduler jobs describe "$SWEEP_JOB" "$at" -- scheduler jobs delete "$SWEEP_JOB" "$at"

step "Queues and workers"
for name in "$EXPRESS_SUBSCRIPTION" "$BULK_SUBSCRIPTION" "$DEAD_SUBSCRIPTION"; do
  remove pubsub subscriptions describe "$name" -- pubsub subscriptions delete "$name"
done
for door in "${WORKER_DOORS[@]}"; do
  name=$(function_name "$door")
  remove functions describe "$name" --gen2 "$in_region" -- functions delete "$name" --gen2 "$in_region"
done
for name in "$EXPRESS_TOPIC" "$BULK_TOPIC" "$DEAD_TOPIC" "$FINISHED_TOPIC"; do
  remove pubsub topics describe "$name" -- pubsub topics delete "$name"
done

step "The GPU service and the images"
remove run services describe "$GPU_SERVICE" "$in_region" -- run services delete "$GPU_SERVICE" "$in_region"
remove artifacts repositories describe "$REPOSITORY" "$at" -- artifacts repositories delete "$REPOSITORY" "$at"

step "Alerts"
found alpha monitoring policies list --filter='userLabels.bucketscribe:*' --format='value(name)' || FOUND=
for name in $FOUND; do
  change cloud alpha monitoring policies delete "$name"
done
found beta monitoring channels list --format='value(name)' --filter="displayName=\"$ALERT_CHANNEL\"" || FOUND=
for name in $FOUND; do
  change cloud beta monitoring channels delete "$name"
done

step "Rights on the project, and accounts"
build=$(member "$BUILD_ACCOUNT")
deploy=$(member "$DEPLOY_ACCOUNT")
revoke roles/eventarc.eventReceiver "$(member "$TRIGGER_ACCOUNT")" ''
revoke roles/logging.logWriter "$build" ''
revoke roles/logging.logWriter "$deploy" ''
revoke roles/run.developer "$deploy" ''
revoke roles/cloudfunctions.developer "$deploy" ''
revoke roles/storage.objectViewer "$build" bucketscribe
# Cloud Storage's agent keeps the right to publish: other triggers of the project may live on it.
for name in "${ACCOUNTS[@]}"; do
  email=$(account_email "$name")
  if found iam service-accounts describe "$email" --format='value(email)'; then
    change cloud iam service-accounts delete "$email"
  fi
done

if [[ -n $with_buckets ]]; then
  step "Buckets"
  for name in "$INPUT_BUCKET" "$OUTPUT_BUCKET"; do
    if found storage buckets describe "gs://$name" --format='value(name)'; then
      change cloud storage rm "gs://$name" --recursive
    fi
  done
fi
say ""
say "Removed.${DRY_RUN:+ Not really: this was a dry run.}"
