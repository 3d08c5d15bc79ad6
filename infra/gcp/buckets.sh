#!/usr/bin/env bash
# The two buckets, and who may read and write in them.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/buckets.sh [--dry-run]
Makes INPUT_BUCKET and OUTPUT_BUCKET unless they exist: uniform access, closed to the public, a week of soft
delete. Of an existing bucket public access is closed and soft delete raised to a week; one with access lists of
single objects is refused. PAGES_DAYS=N has single pages deleted after N days; the documents stay. N must be more
than twice BUCKETSCRIBE_PARKED_DAYS: a page that goes while its document is in flight must be read again.
HELP
no_arguments
[[ $INPUT_BUCKET != "$OUTPUT_BUCKET" ]] ||
  die "INPUT_BUCKET and OUTPUT_BUCKET must differ, or every result would be read as a document"
((PAGES_DAYS == 0 || PAGES_DAYS > 2 * BUCKETSCRIBE_PARKED_DAYS)) ||
  die "PAGES_DAYS must be 0, or more than twice BUCKETSCRIBE_PARKED_DAYS=$BUCKETSCRIBE_PARKED_DAYS"

# bucket NAME RULES: makes it, or mends what differs. RULES is a file of lifecycle rules; without one, rules that
# this script made go again.
bucket() {
  local name=$1 rules=$2 label=''
  [[ -z $rules ]] || label=$(fingerprint "$(<"$rules")")
  step "Bucket $name"
  if ! found storage buckets describe "gs://$name" --format="value[separator='|'](
      uniform_bucket_level_access,
      public_access_prevention,
      soft_delete_policy.retentionDurationSeconds,
      labels.$APPLIED_LABEL,
      lifecycle_config.rule[0].action.type,
      location)"; then
    change cloud storage buckets create "gs://$name" \
      --location="$BUCKET_LOCATION" \
      --uniform-bucket-level-access \
      --public-access-prevention \
      --soft-delete-duration=7d
    FOUND="True|enforced|604800|||$BUCKET_LOCATION"
  fi
  close_bucket "$name"
  lifecycle "$name" "$rules" "$label"
}

# close_bucket NAME: mends what FOUND says of an existing one. What others may rely on is refused, not taken away.
close_bucket() {
  local name=$1 uniform public soft_delete location settings=()
  IFS='|' read -r uniform public soft_delete _ _ location <<<"$FOUND"
  [[ $(lower "$location") == $(lower "$BUCKET_LOCATION") ]] ||
    die "gs://$name lies in $location; set BUCKET_LOCATION=$(lower "$location"), where its trigger must be too"
  [[ $uniform == True ]] || die "gs://$name has access lists of single objects, which the accounts' rights do not \
reach. If nobody relies on them: gcloud storage buckets update gs://$name --uniform-bucket-level-access"
  [[ $public == enforced ]] || settings+=(--public-access-prevention)
  ((${soft_delete:-0} >= 604800)) || settings+=(--soft-delete-duration=7d)
  ((${#settings[@]} == 0)) || change cloud storage buckets update "gs://$name" "${settings[@]}"
}

# lifecycle NAME RULES LABEL
lifecycle() {
  local name=$1 standing rule
  IFS='|' read -r _ _ _ standing rule _ <<<"$FOUND"
  [[ $standing != "$3" ]] || return 0
  [[ -n $standing || -z $rule ]] ||
    die "gs://$name has lifecycle rules of its own, which PAGES_DAYS would replace; add one for pages/ to them, and \
set PAGES_DAYS=0"
  if [[ -n $2 ]]; then
    change cloud storage buckets update "gs://$name" --lifecycle-file="$2" --update-labels="$APPLIED_LABEL=$3"
  else
    change cloud storage buckets update "gs://$name" --clear-lifecycle --remove-labels="$APPLIED_LABEL"
  fi
}

rules=
if ((PAGES_DAYS)); then
  rules=$SCRATCH/pages.json
  printf '{"rule": [{"action": {"type": "Delete"}, "condition": {"age": %s, "matchesPrefix": ["pages/"]}}]}\n' \
    "$PAGES_DAYS" >"$rules"
fi
bucket "$INPUT_BUCKET" ""
bucket "$OUTPUT_BUCKET" "$rules"

step "Who may read and write in them"
for name in "$ON_UPLOAD_ACCOUNT" "$ON_PAGE_TASK_ACCOUNT" "$ON_DEAD_LETTER_ACCOUNT" "$SWEEP_ACCOUNT"; do
  grant roles/storage.objectViewer "$(member "$name")" "storage buckets" "gs://$INPUT_BUCKET"
  grant roles/storage.objectUser "$(member "$name")" "storage buckets" "gs://$OUTPUT_BUCKET"
done
