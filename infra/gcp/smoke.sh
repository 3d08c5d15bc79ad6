#!/usr/bin/env bash
# Asks the OCR service that the functions use to read a page.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/smoke.sh [--as-build-account]
Runs gpu_service/smoke.sh against the deployed service, or OCR_URL: health, model, one real page, and how long the cold
start took. Your own account must be allowed to call it (setup-lightonocr-sa.sh user:YOU@EXAMPLE.COM); the pipeline
does as the build account, with --as-build-account.
HELP

case ${ARGUMENTS[*]-} in
'') ;;
--as-build-account)
  SMOKE_ACCOUNT=$(account_email "$BUILD_ACCOUNT")
  export SMOKE_ACCOUNT
  ;;
*) usage "it takes no ${ARGUMENTS[*]}" ;;
esac
url=$(ocr_url)
exec "$ROOT/gpu_service/smoke.sh" --profile "$PROFILE" "$url"
