#!/usr/bin/env bash
# The services of Google Cloud that bucketscribe uses, switched on.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/apis.sh [--dry-run]
Enables the Google Cloud APIs that bucketscribe needs in PROJECT. Takes a minute or two the first time.
HELP
no_arguments

APIS=(
  artifactregistry.googleapis.com
  cloudbuild.googleapis.com
  cloudfunctions.googleapis.com
  cloudresourcemanager.googleapis.com
  cloudscheduler.googleapis.com
  eventarc.googleapis.com
  iam.googleapis.com
  iamcredentials.googleapis.com
  logging.googleapis.com
  monitoring.googleapis.com
  pubsub.googleapis.com
  run.googleapis.com
  storage.googleapis.com
)

step "APIs of $PROJECT"
found services list --enabled --format='value(config.name)' || die "there is no project $PROJECT"
missing=()
for api in "${APIS[@]}"; do
  grep -qxF "$api" <<<"$FOUND" || missing+=("$api")
done
if ((${#missing[@]})); then
  change cloud services enable "${missing[@]}"
fi
