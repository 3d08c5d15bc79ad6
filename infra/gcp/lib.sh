# shellcheck shell=bash
# What every script of the cloud starts with. Sourced, never run:
#
#   source "$(dirname "$0")/lib.sh"
#   begin "$@" <<'HELP'
#   what --help prints
#   HELP
#
# A script describes a thing and makes it only if it is absent, or changes it only if it differs. Looking is done
# by `found` and `granted`; all that changes anything goes through `change`, which under --dry-run only says what
# it would do. Works with the bash 3.2 of macOS.

set -Eeuo pipefail
unset CDPATH # with it, cd prints where it went

GCP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$GCP/../.." && pwd)
DRY_RUN=${DRY_RUN:-}
SCRATCH=$(mktemp -d)
PAUSE_SECONDS=${PAUSE_SECONDS:-10}
trap 'rm -rf "$SCRATCH"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
warn() { printf 'note: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# begin "$@" <<HELP: takes --help and --dry-run and leaves all else in ARGUMENTS.
begin() {
  local help
  help=$(cat)
  ARGUMENTS=()
  while (($#)); do
    case $1 in
    -h | --help)
      printf '%s\n' "$help"
      exit 0
      ;;
    --dry-run) export DRY_RUN=1 ;;
    *) ARGUMENTS+=("$1") ;;
    esac
    shift
  done
  # shellcheck source=infra/gcp/env.sh
  source "$GCP/env.sh"
  # The pipeline says where it runs: a file of staging's must not deploy to production.
  [[ -z ${EXPECTED_PROJECT:-} || $EXPECTED_PROJECT == "$PROJECT" ]] ||
    die "this runs in $EXPECTED_PROJECT, but $ENV_FILE says PROJECT=$PROJECT"
  command -v gcloud >/dev/null || die "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
}

no_arguments() {
  ((${#ARGUMENTS[@]} == 0)) || usage "it takes no ${ARGUMENTS[0]}"
}

usage() {
  printf 'error: %s; see %s --help\n' "$*" "$0" >&2
  exit 2
}

cloud() { gcloud "$@" --project="$PROJECT" --quiet; }

# change COMMAND…: shows a command that changes something and runs it, or under --dry-run only shows it. What is
# shown can be pasted into a shell; a long one has a flag a line.
change() {
  local shown=("$@") word text break_at=' '
  [[ $1 != cloud ]] || shown=(gcloud "${@:2}" --project="$PROJECT")
  text="${shown[*]}"
  ((${#text} < 110)) || break_at=$' \\\n      '
  text=
  for word in "${shown[@]}"; do
    case $word in
    --*) text+=$break_at ;;
    *) text+=' ' ;;
    esac
    text+=$(printf '%q' "$word")
  done
  printf '  +%s\n' "$text"
  [[ -n $DRY_RUN ]] || "$@"
}

# Absence, in the words of gcloud's services: only on its own error line, and only for what was asked for. A login
# or a key that "was not found" is no absence.
ABSENT='^ERROR: \(gcloud\.[a-z.-]+\) .*(NOT_FOUND:|status=\[404\]|not found: 404|Cannot find [a-z]+ \[|Resource .*not found)'
API_OFF='SERVICE_DISABLED|has not been used in project|API \[.*\] not enabled'

# found DESCRIBE…: tells whether a thing exists; FOUND is then what --format asked for. Ends the script when
# gcloud fails for another reason than absence: to make a thing that is only out of sight would do harm. Behind an
# API that is off there is nothing, but one that was just switched on may be said to be off for a minute.
found() {
  local try
  for try in 1 2 3 4 5 6; do
    if FOUND=$(cloud "$@" 2>"$SCRATCH/words"); then
      return 0
    fi
    if grep -Eq "$ABSENT" "$SCRATCH/words"; then
      return 1
    fi
    grep -Eq "$API_OFF" "$SCRATCH/words" || break
    [[ -z $DRY_RUN && -z ${NOTHING_TO_WAIT_FOR:-} ]] || return 1
    ((try == 6)) || sleep "$PAUSE_SECONDS"
  done
  cat "$SCRATCH/words" >&2
  die "looking at it failed: gcloud $*"
}

# granted ROLE MEMBER TITLE GROUP RESOURCE FLAG…: tells whether a policy has exactly this binding. A resource
# that --dry-run did not make has no policy.
granted() {
  local line=$1$'\t'$2$'\t'$3 group
  read -ra group <<<"$4"
  shift 4
  found "${group[@]}" get-iam-policy "$@" \
    --flatten='bindings[].members' \
    --format='value(bindings.role,bindings.members,bindings.condition.title)' || return 1
  grep -qxF "$line" <<<"$FOUND"
}

# grant ROLE MEMBER GROUP RESOURCE FLAG…: as in `grant roles/run.invoker serviceAccount:x "run services" NAME`.
# With CONDITION (a CEL expression) set, only where it holds.
grant() {
  local role=$1 member=$2 group title='' condition=(--condition=None)
  # A policy may hold conditions of others, and then gcloud asks unless told that there is none; Pub/Sub's has none.
  [[ $3 != pubsub* ]] || condition=()
  if [[ -n ${CONDITION:-} ]]; then
    title=bucketscribe
    condition=("--condition=expression=$CONDITION,title=$title")
  fi
  if granted "$role" "$member" "$title" "${@:3}"; then
    return
  fi
  read -ra group <<<"$3"
  shift 3
  patiently cloud "${group[@]}" add-iam-policy-binding "$@" --member="$member" --role="$role" \
    ${condition[@]+"${condition[@]}"} --format=none
}

# patiently COMMAND…: changes something that may be refused because an account that was just made is not known
# everywhere yet, or because somebody else changed the same policy. Any other refusal ends the script.
patiently() {
  local try
  for try in 1 2 3 4 5 6; do
    if change "$@" 2>"$SCRATCH/refusal"; then
      return
    fi
    cat "$SCRATCH/refusal" >&2
    grep -Eq 'does not exist|INVALID_ARGUMENT|ABORTED|concurrent' "$SCRATCH/refusal" || break
    ((try == 6)) || sleep "$PAUSE_SECONDS"
  done
  die "that was refused; what gcloud says stands above. You need the rights of an owner of $PROJECT"
}

# agent API: has Google make its own account for an API, which it otherwise does at its own time.
agent() { change cloud beta services identity create --service="$1.googleapis.com" --format=none; }

# account NAME WHAT-FOR: makes a service account unless it is there.
account() {
  found iam service-accounts describe "$(account_email "$1")" --format='value(email)' ||
    change cloud iam service-accounts create "$1" --display-name="$2"
}

# fingerprint TEXT…: a label value that changes with any of them; 40 hexadecimal digits.
fingerprint() { printf '%s\n' "$@" | sha256 | cut -c 1-40; }

# fingerprint_of_folder FOLDER: over the names and contents of what is deployed from it.
fingerprint_of_folder() {
  local file
  (
    cd "$1"
    find . -type f ! -path '*/__pycache__/*' ! -name '.DS_Store' | LC_ALL=C sort | while IFS= read -r file; do
      printf '%s %s\n' "$file" "$(sha256 <"$file")"
    done
  ) | sha256 | cut -c 1-40
}

lower() { tr '[:upper:]' '[:lower:]' <<<"$1"; }

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

project_number() {
  found projects describe "$PROJECT" --format='value(projectNumber)' || die "there is no project $PROJECT"
  printf '%s' "$FOUND"
}

# ocr_url: where pages are read: the operator's own service, or ours.
ocr_url() {
  if [[ -n $OCR_URL ]]; then
    printf '%s' "$OCR_URL"
  elif found run services describe "$GPU_SERVICE" --region="$REGION" --format='value(status.url)' &&
    [[ -n $FOUND ]]; then
    printf '%s' "$FOUND"
  elif [[ -n $DRY_RUN ]]; then
    printf 'https://known-after-gpu-service-deploy'
  else
    die "the GPU service $GPU_SERVICE is not deployed; run gpu_service/deploy.sh, or set OCR_URL"
  fi
}

# function_url DOOR: the address of a door's Cloud Run service, which is also its tokens' audience.
function_url() {
  if found functions describe "$(function_name "$1")" --gen2 --region="$REGION" \
    --format='value(serviceConfig.uri)' && [[ -n $FOUND ]]; then
    printf '%s' "$FOUND"
  elif [[ -n $DRY_RUN ]]; then
    printf 'https://known-after-%s-deploy' "$(function_name "$1")"
  else
    die "the function $(function_name "$1") is not deployed; run infra/gcp/functions.sh $1"
  fi
}
