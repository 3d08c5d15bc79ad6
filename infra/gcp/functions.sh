#!/usr/bin/env bash
# The four functions, from one source, each deploy naming another door.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/functions.sh [--dry-run] [workers | fan-out | DOOR…]
Deploys the functions whose source or settings have changed:
  workers   on_page_task, on_dead_letter and sweep: what takes messages and is to be deployed first
  fan-out   on_upload, which sends them; refused while a subscription is missing, for its messages would be lost
  DOOR…     those named; without arguments all four, workers first
A function whose fingerprint (source, settings and size, kept as its label) is as wanted is left alone.
HELP

# environment DOOR: its settings as an --env-vars-file. Each line is a YAML string in single quotes. What is set
# here is what bucketscribe.settings reads, all of it: tests hold the two together.
environment() {
  size_of "$1"
  variable PROJECT "$PROJECT"
  variable INPUT_BUCKET "$INPUT_BUCKET"
  variable OUTPUT_BUCKET "$OUTPUT_BUCKET"
  variable OCR_URL "$url"
  variable EXPRESS_TOPIC "$EXPRESS_TOPIC"
  variable BULK_TOPIC "$BULK_TOPIC"
  variable FINISHED_TOPIC "$FINISHED_TOPIC"
  variable PROFILE "$PROFILE"
  variable INCLUDE "$BUCKETSCRIBE_INCLUDE"
  variable IGNORE "$BUCKETSCRIBE_IGNORE"
  variable RETENTION "$BUCKETSCRIBE_RETENTION"
  variable DOCUMENT_MIB "$BUCKETSCRIBE_DOCUMENT_MIB"
  variable DOCUMENT_PAGES "$BUCKETSCRIBE_DOCUMENT_PAGES"
  variable IMAGE_PIXELS "$BUCKETSCRIBE_IMAGE_PIXELS"
  variable EXPRESS_PAGES "$BUCKETSCRIBE_EXPRESS_PAGES"
  variable IMAGE_ENCODING "$BUCKETSCRIBE_IMAGE_ENCODING"
  variable RENDER_WORKERS "$RENDER_WORKERS"
  variable RENDER_SECONDS "$BUCKETSCRIBE_RENDER_SECONDS"
  variable RENDER_MIB "$RENDER_MIB"
  variable CACHE_MIB "$CACHE_MIB"
  variable MEMORY_MIB "$MEMORY_MIB"
  variable ACK_DEADLINE_SECONDS "$ACK_DEADLINE_SECONDS"
  variable PAGE_SECONDS "$PAGE_SECONDS"
  variable CALL_RESERVE_SECONDS "$BUCKETSCRIBE_CALL_RESERVE_SECONDS"
  variable PAGES_AT_GPU "$PAGES_AT_GPU"
  variable PAGES_WAITING "$PAGES_WAITING"
  variable MODEL_CALLS "$BUCKETSCRIBE_MODEL_CALLS"
  variable MODEL_TIMEOUTS "$BUCKETSCRIBE_MODEL_TIMEOUTS"
  variable PARKED_DAYS "$BUCKETSCRIBE_PARKED_DAYS"
}

variable() {
  local quote="'"
  printf "BUCKETSCRIBE_%s: '%s'\n" "$1" "${2//$quote/$quote$quote}"
}

# trigger DOOR: the flags that say what starts it.
trigger() {
  if [[ $1 == on_upload ]]; then
    printf '%s\n' \
      --trigger-event-filters=type=google.cloud.storage.object.v1.finalized \
      --trigger-event-filters="bucket=$INPUT_BUCKET" \
      --trigger-location="$location" \
      --trigger-service-account="$(account_email "$TRIGGER_ACCOUNT")" \
      --retry
  else
    printf '%s\n' --trigger-http
  fi
}

# settings_of DOOR: all flags but those that name the function and its fingerprint.
settings_of() {
  size_of "$1"
  printf '%s\n' \
    --runtime=python312 \
    --entry-point="$1" \
    --source="$ROOT/functions" \
    --service-account="$(account_email "$(function_name "$1")")" \
    --build-service-account="projects/$PROJECT/serviceAccounts/$(account_email "$BUILD_ACCOUNT")" \
    --docker-repository="projects/$PROJECT/locations/$REGION/repositories/$REPOSITORY" \
    --memory="${MEMORY_MIB}Mi" \
    --cpu="$VCPU" \
    --concurrency="$CONCURRENCY" \
    --min-instances=0 \
    --max-instances="$INSTANCES" \
    --timeout="${TIMEOUT_SECONDS}s"
  trigger "$1"
}

# deploy DOOR: unless it stands as it should.
deploy() {
  local door=$1 name settings=() flag variables=$SCRATCH/$1.yaml wanted
  name=$(function_name "$door")
  step "Function $name"
  environment "$door" >"$variables"
  while IFS= read -r flag; do settings+=("$flag"); done < <(settings_of "$door")
  wanted=$(fingerprint "$source" "$(<"$variables")" "${settings[@]/$ROOT/}")
  if ! found functions describe "$name" --gen2 --region="$REGION" \
    --format="value[separator='|'](state,labels.$APPLIED_LABEL)"; then
    # Only on a new one: on an existing function gcloud sets a policy for it, which the pipeline may not (528).
    settings+=(--no-allow-unauthenticated)
    FOUND=
    [[ $door != on_upload ]] || agent eventarc
  fi
  if [[ $FOUND == "ACTIVE|$wanted" ]]; then
    say "  as it should be"
  else
    change cloud functions deploy "$name" \
      --gen2 \
      --region="$REGION" \
      "${settings[@]}" \
      --env-vars-file="$variables" \
      --update-labels="$APPLIED_LABEL=$wanted" \
      --format=none
  fi
  if [[ $door == on_upload ]]; then
    grant roles/run.invoker "$(member "$TRIGGER_ACCOUNT")" \
      "run services" "$name" --region="$REGION"
    deleted_trigger
  fi
}

# With RETENTION=follow on_upload hears of deleted objects too; a function has one trigger, so this is a second.
deleted_trigger() {
  local settings wanted=''
  settings=(
    --event-filters=type=google.cloud.storage.object.v1.deleted
    --event-filters="bucket=$INPUT_BUCKET"
    --destination-run-service="$(function_name on_upload)"
    --destination-run-region="$REGION"
    --service-account="$(account_email "$TRIGGER_ACCOUNT")"
  )
  [[ $BUCKETSCRIBE_RETENTION != follow ]] || wanted=$(fingerprint "${settings[@]}")
  if found eventarc triggers describe "$DELETED_TRIGGER" --location="$location" \
    --format="value(labels.$APPLIED_LABEL)"; then
    [[ $FOUND != "$wanted" ]] || return 0
    change cloud eventarc triggers delete "$DELETED_TRIGGER" --location="$location"
  fi
  [[ -z $wanted ]] || change cloud eventarc triggers create "$DELETED_TRIGGER" \
    --location="$location" \
    "${settings[@]}" \
    --labels="$APPLIED_LABEL=$wanted"
}

# A message to a topic that nobody subscribes to is gone.
require_subscriptions() {
  local name
  [[ -z $DRY_RUN ]] || return 0
  for name in "$EXPRESS_SUBSCRIPTION" "$BULK_SUBSCRIPTION" "$DEAD_SUBSCRIPTION"; do
    { found pubsub subscriptions describe "$name" --format='value(topic)' && [[ $FOUND != *_deleted-topic_* ]]; } ||
      die "the subscription $name is missing; run infra/gcp/subscriptions.sh before on_upload sends pages"
  done
}

chosen=()
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $argument in
  workers) chosen+=("${WORKER_DOORS[@]}") ;;
  fan-out) chosen+=(on_upload) ;;
  *)
    size_of "$argument"
    chosen+=("$argument")
    ;;
  esac
done
((${#chosen[@]})) || chosen=("${DOORS[@]}")

url=$(ocr_url)
location=$(lower "$BUCKET_LOCATION")
source=$(fingerprint_of_folder "$ROOT/functions")
for door in "${chosen[@]}"; do
  [[ $door != on_upload ]] || require_subscriptions
  deploy "$door"
done
