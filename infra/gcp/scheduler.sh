#!/usr/bin/env bash
# What calls the sweep.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/scheduler.sh [--dry-run]
Has Cloud Scheduler call the sweep by SWEEP_SCHEDULE (cron, UTC). The sweep must be deployed (functions.sh sweep).
HELP
no_arguments

step "Scheduler"
name=$(function_name sweep)
url=$(function_url sweep)
email=$(account_email "$SCHEDULER_ACCOUNT")
grant roles/run.invoker "serviceAccount:$email" "run services" "$name" --region="$REGION"

settings=(
  --location="$REGION"
  --schedule="$SWEEP_SCHEDULE"
  --time-zone=Etc/UTC
  # With the slash that the service would add.
  --uri="$url/"
  --http-method=POST
  --oidc-service-account-email="$email"
  --oidc-token-audience="$url"
  --attempt-deadline="${EVENT_TIMEOUT_SECONDS}s"
  # The next one comes soon enough.
  --max-retry-attempts=0
)
wanted="$SWEEP_SCHEDULE|Etc/UTC|$url/|POST|$email|$url|${EVENT_TIMEOUT_SECONDS}s"
if ! found scheduler jobs describe "$SWEEP_JOB" --location="$REGION" --format="value[separator='|'](
    schedule,
    timeZone,
    httpTarget.uri,
    httpTarget.httpMethod,
    httpTarget.oidcToken.serviceAccountEmail,
    httpTarget.oidcToken.audience,
    attemptDeadline)"; then
  change cloud scheduler jobs create http "$SWEEP_JOB" "${settings[@]}"
elif [[ $FOUND != "$wanted" ]]; then
  change cloud scheduler jobs update http "$SWEEP_JOB" "${settings[@]}"
fi
