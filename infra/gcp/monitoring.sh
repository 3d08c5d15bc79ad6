#!/usr/bin/env bash
# Whom to wake and when: the alert policies of infra/monitoring, and the operator's address.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/monitoring.sh [--dry-run]
Applies every file of infra/monitoring/alerts as an alert policy, and has them sent to ALERT_EMAIL. A policy of
your own is one more file there; a policy whose file is gone is deleted.
HELP
no_arguments

# channels: sets FOUND to a line per channel of ours, NAME|ADDRESS.
channels() {
  found beta monitoring channels list --filter="displayName=\"$ALERT_CHANNEL\"" \
    --format="value[separator='|'](name,labels.email_address)" || FOUND=
}

# channel_of ADDRESS: sets CHANNEL to the name of its channel, empty if there is none.
channel_of() {
  channels
  CHANNEL=$(sed -n "s/|$1\$//p" <<<"$FOUND" | head -n 1)
}

CHANNEL=
if [[ -n $ALERT_EMAIL ]]; then
  step "Notification channel"
  channel_of "$ALERT_EMAIL"
  if [[ -z $CHANNEL ]]; then
    change cloud beta monitoring channels create \
      --display-name="$ALERT_CHANNEL" \
      --type=email \
      --channel-labels="email_address=$ALERT_EMAIL" \
      --format=none
    # A list may lag behind; a policy without its channel would wake nobody, in silence.
    for try in 1 2 3 4 5 6; do
      channel_of "$ALERT_EMAIL"
      [[ -z $CHANNEL && -z $DRY_RUN ]] || break
      ((try == 6)) || sleep "$PAUSE_SECONDS"
    done
    [[ -n $CHANNEL || -n $DRY_RUN ]] || die "the channel for $ALERT_EMAIL does not show yet; run this again"
  fi
fi

step "Alert policies"
found alpha monitoring policies list --filter='userLabels.bucketscribe:*' \
  --format="value[separator='|'](userLabels.bucketscribe,userLabels.$APPLIED_LABEL,name)" || FOUND=
standing=$FOUND
kept=' '
for file in "$ROOT"/infra/monitoring/alerts/*.json; do
  label=$(basename "$file" .json)
  kept+="$label "
  wanted=$(fingerprint "$(<"$file")" "$CHANNEL")
  line=$(grep "^$label|" <<<"$standing" | head -n 1 || true)
  if [[ -z $line ]]; then
    change cloud alpha monitoring policies create \
      --policy-from-file="$file" \
      --user-labels="bucketscribe=$label,$APPLIED_LABEL=$wanted" \
      ${CHANNEL:+"--notification-channels=$CHANNEL"}
  elif [[ $line != "$label|$wanted|"* ]]; then
    change cloud alpha monitoring policies update "${line##*|}" \
      --policy-from-file="$file" \
      --update-user-labels="bucketscribe=$label,$APPLIED_LABEL=$wanted" \
      ${CHANNEL:+"--set-notification-channels=$CHANNEL"}
  fi
done
while IFS='|' read -r label _ name; do
  [[ -z $label || $kept == *" $label "* ]] || change cloud alpha monitoring policies delete "$name"
done <<<"$standing"

# Last, when no policy names it any more.
channels
while IFS='|' read -r name address; do
  [[ -z $name || $address == "$ALERT_EMAIL" ]] || change cloud beta monitoring channels delete "$name"
done <<<"$FOUND"
