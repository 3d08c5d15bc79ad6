#!/usr/bin/env bash
# The push subscriptions: both lanes onto one worker, and the dead letters.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/subscriptions.sh [--dry-run]
Makes the push subscriptions, or mends what differs. The worker functions must be deployed (functions.sh workers).
HELP
no_arguments

# subscription NAME TOPIC DOOR [DEAD-LETTER-TOPIC]
subscription() {
  local name=$1 topic=$2 url settings wanted dead=${4-}
  url=$(function_url "$3")
  settings=(
    --push-endpoint="$url"
    --push-auth-service-account="$(account_email "$PUSH_ACCOUNT")"
    --push-auth-token-audience="$url"
    # Also the time-out of the push itself; it cannot be extended.
    --ack-deadline="$ACK_DEADLINE_SECONDS"
    # Without the second one gcloud sets a maximum of 10 s.
    --min-retry-delay="${MINIMUM_BACKOFF_SECONDS}s"
    --max-retry-delay="${MAXIMUM_BACKOFF_SECONDS}s"
    --message-retention-duration="${RETENTION_DAYS}d"
    # Otherwise it goes after 31 days without a document.
    --expiration-period=never
  )
  wanted=projects/$PROJECT/topics/$topic'|'$url'|'$(account_email "$PUSH_ACCOUNT")'|'$url'|'$ACK_DEADLINE_SECONDS
  wanted+='|'${MINIMUM_BACKOFF_SECONDS}s'|'${MAXIMUM_BACKOFF_SECONDS}s'|'$((RETENTION_DAYS * 86400))s'||'
  if [[ -n $dead ]]; then
    settings+=(--dead-letter-topic="$dead" --max-delivery-attempts="$DELIVERY_ATTEMPTS")
    wanted+="projects/$PROJECT/topics/$dead|$DELIVERY_ATTEMPTS"
  else
    wanted+='|'
  fi
  found pubsub subscriptions describe "$name" --format="value[separator='|'](
      topic,
      pushConfig.pushEndpoint,
      pushConfig.oidcToken.serviceAccountEmail,
      pushConfig.oidcToken.audience,
      ackDeadlineSeconds,
      retryPolicy.minimumBackoff,
      retryPolicy.maximumBackoff,
      messageRetentionDuration,
      expirationPolicy.ttl,
      deadLetterPolicy.deadLetterTopic,
      deadLetterPolicy.maxDeliveryAttempts)" || FOUND=
  if [[ -n $FOUND && ${FOUND%%|*} != "projects/$PROJECT/topics/$topic" ]]; then
    # Its topic was deleted, and one of the same name is another topic: nothing would ever come of it.
    change cloud pubsub subscriptions delete "$name"
    FOUND=
  fi
  if [[ -z $FOUND ]]; then
    change cloud pubsub subscriptions create "$name" --topic="$topic" "${settings[@]}"
  elif [[ $FOUND != "$wanted" ]]; then
    change cloud pubsub subscriptions update "$name" "${settings[@]}"
  fi
  if [[ -n $dead ]]; then
    # To take a message away from here, Pub/Sub's agent must be a subscriber.
    grant roles/pubsub.subscriber "serviceAccount:$agent" "pubsub subscriptions" "$name"
  fi
}

step "Subscriptions"
agent=service-$(project_number)@gcp-sa-pubsub.iam.gserviceaccount.com
for door in on_page_task on_dead_letter; do
  grant roles/run.invoker "$(member "$PUSH_ACCOUNT")" \
    "run services" "$(function_name "$door")" --region="$REGION"
done
subscription "$EXPRESS_SUBSCRIPTION" "$EXPRESS_TOPIC" on_page_task "$DEAD_TOPIC"
subscription "$BULK_SUBSCRIPTION" "$BULK_TOPIC" on_page_task "$DEAD_TOPIC"
subscription "$DEAD_SUBSCRIPTION" "$DEAD_TOPIC" on_dead_letter
