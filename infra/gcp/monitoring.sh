#!/usr/bin/env bash
# Whom to wake and when: the alert policies of infra/monitoring, and the operator's address.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/monitoring.sh [--dry-run]
Applies every file of infra/monitoring/alerts as an alert policy, and has them sent to ALERT_EMAIL. A policy of
your own is one more file there; a policy whose file is gone is deleted.
HELP
no_arguments

channel=
if [[ -n $ALERT_EMAIL ]]; then
  step "Notification channel"
  found beta monitoring channels list --format='value(name)' \
    --filter="displayName=\"$ALERT_CHANNEL\" AND labels.email_address=\"$ALERT_EMAIL\"" || FOUND=
  if [[ -z $FOUND ]]; then
    change cloud beta monitoring channels create \
      --display-name="$ALERT_CHANNEL" \
      --type=email \
      --channel-labels="email_address=$ALERT_EMAIL"
    [[ -n $DRY_RUN ]] || found beta monitoring channels list --format='value(name)' \
      --filter="displayName=\"$ALERT_CHANNEL\" AND labels.email_address=\"$ALERT_EMAIL\""
  fi
  channel=$(head -n 1 <<<"$FOUND")
fi

step "Alert policies"
found alpha monitoring policies list --filter='userLabels.bucketscribe:*' \
  --format="value[separator='|'](userLabels.bucketscribe,userLabels.$APPLIED_LABEL,name)" || FOUND=
standing=$FOUND
kept=' '
for file in "$ROOT"/infra/monitoring/alerts/*.json; do
  label=$(basename "$file" .json)
  kept+="$label "
  wanted=$(fingerprint "$(<"$file")" "$channel")
  line=$(grep "^$label|" <<<"$standing" | head -n 1 || true)
  if [[ -z $line ]]; then
    change cloud alpha monitoring policies create \
      --policy-from-file="$file" \
      --user-labels="bucketscribe=$label,$APPLIED_LABEL=$wanted" \
      ${channel:+"--notification-channels=$channel"}
  elif [[ $line != "$label|$wanted|"* ]]; then
    change cloud alpha monitoring policies update "${line##*|}" \
      --policy-from-file="$file" \
      --update-user-labels="bucketscribe=$label,$APPLIED_LABEL=$wanted" \
      ${channel:+"--set-notification-channels=$channel"}
  fi
done
while IFS='|' read -r label _ name; do
  [[ -z $label || $kept == *" $label "* ]] || change cloud alpha monitoring policies delete "$name"
done <<<"$standing"
