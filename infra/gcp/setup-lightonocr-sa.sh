#!/usr/bin/env bash
# The GPU service's own account, which may do nothing, and who may call the service.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/setup-lightonocr-sa.sh [--dry-run] [MEMBER…]
Makes the account that the GPU service runs as, and lets the functions' accounts call the service once it is
deployed; gpu_service/deploy.sh runs this by itself. Members named besides may call it as well, for example
  infra/gcp/setup-lightonocr-sa.sh user:you@example.com
HELP

step "The GPU service's account and its callers"
account "$GPU_ACCOUNT" "bucketscribe: the LightOnOCR service, which needs no rights"

if [[ -n $DRY_RUN ]] || found run services describe "$GPU_SERVICE" --region="$REGION" --format='value(status.url)'; then
  # on_upload and sweep wake it, on_page_task sends it pages.
  for name in "$ON_UPLOAD_ACCOUNT" "$ON_PAGE_TASK_ACCOUNT" "$SWEEP_ACCOUNT"; do
    grant roles/run.invoker "$(member "$name")" "run services" "$GPU_SERVICE" --region="$REGION"
  done
  for member in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
    grant roles/run.invoker "$member" "run services" "$GPU_SERVICE" --region="$REGION"
  done
else
  ((${#ARGUMENTS[@]} == 0)) || die "the service $GPU_SERVICE is not deployed yet: run gpu_service/deploy.sh first"
  say "The service $GPU_SERVICE is not deployed yet; gpu_service/deploy.sh grants the functions the right to call it."
fi
