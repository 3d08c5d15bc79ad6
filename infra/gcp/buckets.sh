#!/usr/bin/env bash
# The two buckets, and who may read and write in them.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/buckets.sh [--dry-run]
Makes INPUT_BUCKET and OUTPUT_BUCKET unless they exist: uniform access, closed to the public, a week of soft
delete. Existing buckets keep their location and all that is not named here. PAGES_DAYS=N has single pages deleted
after N days; the documents stay. N must be more than BUCKETSCRIBE_PARKED_DAYS: a page that goes while its document
is in flight must be read again.
HELP
no_arguments
[[ $INPUT_BUCKET != "$OUTPUT_BUCKET" ]] ||
  die "INPUT_BUCKET and OUTPUT_BUCKET must differ, or every result would be read as a document"
((PAGES_DAYS == 0 || PAGES_DAYS > BUCKETSCRIBE_PARKED_DAYS)) ||
  die "PAGES_DAYS must be 0, or more than BUCKETSCRIBE_PARKED_DAYS=$BUCKETSCRIBE_PARKED_DAYS"

# bucket NAME RULES: makes it, or mends what differs. RULES is a file of lifecycle rules; without one, rules that
# this script made go again, and rules of others stay.
bucket() {
  local name=$1 rules=$2 label='' mended=() uniform public soft_delete standing location
  if [[ -n $rules ]]; then
    label=$(fingerprint "$(<"$rules")")
    mended=("--lifecycle-file=$rules" "--update-labels=$APPLIED_LABEL=$label")
  else
    mended=(--clear-lifecycle "--remove-labels=$APPLIED_LABEL")
  fi
  step "Bucket $name"
  if ! found storage buckets describe "gs://$name" --format="value[separator='|'](
      uniform_bucket_level_access,
      public_access_prevention,
      soft_delete_policy.retentionDurationSeconds,
      labels.$APPLIED_LABEL,
      location)"; then
    change cloud storage buckets create "gs://$name" \
      --location="$BUCKET_LOCATION" \
      --uniform-bucket-level-access \
      --public-access-prevention \
      --soft-delete-duration=7d
    FOUND="True|enforced|604800||$BUCKET_LOCATION"
  fi
  IFS='|' read -r uniform public soft_delete standing location <<<"$FOUND"
  [[ $(lower "$location") == $(lower "$BUCKET_LOCATION") ]] ||
    die "gs://$name lies in $location; set BUCKET_LOCATION=$(lower "$location"), where its trigger must be too"
  if [[ $uniform/$public/$soft_delete != True/enforced/604800 ]]; then
    change cloud storage buckets update "gs://$name" \
      --uniform-bucket-level-access \
      --public-access-prevention \
      --soft-delete-duration=7d
  fi
  [[ $standing == "$label" ]] || change cloud storage buckets update "gs://$name" "${mended[@]}"
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
  grant roles/storage.objectViewer "serviceAccount:$(account_email "$name")" "storage buckets" "gs://$INPUT_BUCKET"
  grant roles/storage.objectUser "serviceAccount:$(account_email "$name")" "storage buckets" "gs://$OUTPUT_BUCKET"
done
