#!/usr/bin/env bash
# Asks the OCR service that the functions use to read a page.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/smoke.sh [--in-pipeline]
Runs gpu_service/smoke.sh against the deployed service, or OCR_URL: health, model, one real page, and how long the cold
start took. Your own account must be allowed to call it (setup-lightonocr-sa.sh user:YOU@EXAMPLE.COM); needs curl and
python3. The pipeline asks as its own account, and leaves a service at OCR_URL, which is not its own, alone.
HELP

case ${ARGUMENTS[*]-} in
'') ;;
--in-pipeline)
  if [[ -n $OCR_URL ]]; then
    say "Pages are read at OCR_URL=$OCR_URL, which is not deployed here: it is not asked."
    exit 0
  fi
  SMOKE_ACCOUNT=$(account_email "$DEPLOY_ACCOUNT")
  export SMOKE_ACCOUNT
  ;;
*) usage "it takes no ${ARGUMENTS[*]}" ;;
esac
url=$(ocr_url)
"$ROOT/gpu_service/smoke.sh" --profile "$PROFILE" "$url"
