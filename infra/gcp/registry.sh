#!/usr/bin/env bash
# Where images lie: the GPU service's and the functions'.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/registry.sh [--dry-run]
Makes the Artifact Registry repository for the GPU service's image and the functions' images, and has old ones
deleted: an image with the model in it is more than 10 GB.
HELP
no_arguments

step "Artifact Registry"
policy=$GCP/cleanup-policy.json
wanted=$(fingerprint "$(<"$policy")")
if ! found artifacts repositories describe "$REPOSITORY" --location="$REGION" \
  --format="value(labels.$APPLIED_LABEL)"; then
  change cloud artifacts repositories create "$REPOSITORY" \
    --location="$REGION" \
    --repository-format=docker \
    --description="Images of bucketscribe"
  FOUND=
fi
if [[ $FOUND != "$wanted" ]]; then
  change cloud artifacts repositories set-cleanup-policies "$REPOSITORY" \
    --location="$REGION" \
    --policy="$policy" \
    --no-dry-run
  change cloud artifacts repositories update "$REPOSITORY" \
    --location="$REGION" \
    --update-labels="$APPLIED_LABEL=$wanted"
fi
grant roles/artifactregistry.writer "$(member "$BUILD_ACCOUNT")" \
  "artifacts repositories" "$REPOSITORY" --location="$REGION"
