#!/usr/bin/env bash
# Asks a deployed OCR service what a client asks, and judges the answers. Runs with macOS's bash 3.2 too.
set -Eeuo pipefail
unset CDPATH

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

help() {
  cat <<'TEXT'
smoke.sh [OPTIONS] [URL]

Waits until the OCR service at URL is ready, checks which model it serves, has it read one page, and checks the
reading. URL is the service's origin, such as https://lightonocr-….run.app; without it OCR_URL of the
environment is taken. On the loopback plain http is fine, and no token is sent.

  --profile NAME   expect the model of gpu_service/profiles/NAME.env (default: lightonocr-2-1b)
  --model MODEL    expect this model; a stand-in, for example, serves another one
  --deadline S     wait so many seconds for readiness (default: 600, or SMOKE_DEADLINE)
  --help           this text

Environment:
  OCR_URL          the URL, when none is given
  SMOKE_ACCOUNT    ask as this service account. You need roles/iam.serviceAccountTokenCreator on it, and it
                   needs roles/run.invoker on the service. Without it you are asked for as yourself.
  SMOKE_DEADLINE   the default of --deadline

The service is private, so a token is sent: `gcloud auth print-identity-token` gives it, once. It is kept in a
file that only you can read, and deleted at the end; no command line and no output holds it.

Says how long the start took, how many tokens were used, and how long reading took; never the page's text,
unless it is wrong. Ends with 0 when all is well, 1 when the service is wrong, 2 when the call was: an unknown
option, a missing program, no token to be had.

  gpu_service/smoke.sh https://lightonocr-….run.app
  SMOKE_ACCOUNT=on-page-task@PROJECT.iam.gserviceaccount.com gpu_service/smoke.sh https://lightonocr-….run.app
  gpu_service/smoke.sh --model bucketscribe-stand-in/tesseract-5.5.4 http://127.0.0.1:8000

Needs bash, curl and python3 (which reads the JSON: it is wherever gcloud is), and gcloud for a token.
TEXT
}

# Cloud Run holds a request while an instance starts. A wait that is cut here goes on there.
TRY_SECONDS=60
PAUSE_SECONDS=1
# Longer than a start ever takes to answer its first probe when it is warm.
WARM_SECONDS=3
READ_SECONDS=300

# In variables, because bash 3.2 reads quotes in a pattern otherwise than later ones.
NUMBER='^[1-9][0-9]*$'
ORIGIN='^https?://[^/?#@"[:space:]]+$'
LOOPBACK='^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?$'

misused() {
  echo "smoke.sh: $1" >&2
  echo "smoke.sh --help says more" >&2
  exit 2
}

wrong() {
  echo "smoke.sh: WRONG: $1" >&2
  exit 1
}

read_arguments() {
  url=${OCR_URL:-}
  profile=lightonocr-2-1b
  model=
  deadline=${SMOKE_DEADLINE:-600}
  local given=
  while (($#)); do
    case $1 in
      --help | -h)
        help
        exit 0
        ;;
      --profile | --model | --deadline)
        (($# > 1)) && [[ -n $2 ]] || misused "$1 needs a value"
        case $1 in
          --profile) profile=$2 ;;
          --model) model=$2 ;;
          --deadline) deadline=$2 ;;
        esac
        shift 2
        ;;
      -*) misused "unknown option: $1" ;;
      *)
        [[ -z $given ]] || misused "one URL, not two: $given and $1"
        given=$1
        shift
        ;;
    esac
  done
  url=${given:-$url}
}

# Sets `url` to the origin and `is_local`, and `model` from the profile unless it was named.
check_arguments() {
  [[ -n $url ]] || misused "which URL? Give one, or set OCR_URL"
  [[ $deadline =~ $NUMBER ]] || misused "a deadline is a whole number of seconds above 0, not '$deadline'"
  url=${url%/}
  [[ $url =~ $ORIGIN ]] || misused "this is no origin such as https://HOST: $url"
  is_local=
  if [[ $url =~ $LOOPBACK ]]; then
    is_local=yes
  elif [[ $url == http://* ]]; then
    misused "a token is not sent over plain http, and only the loopback needs none: $url"
  fi
  if [[ -z $model ]]; then
    local file="$here/profiles/$profile.env"
    [[ -f $file ]] || misused "there is no profile $profile in $here/profiles"
    model=$(sed -n 's/^MODEL=//p' "$file")
  fi
  local program
  for program in curl python3; do
    command -v "$program" >/dev/null || misused "$program is missing"
  done
}

# Writes what every request needs into a file that curl reads: a token has no place on a command line.
prepare_curl() {
  umask 077
  folder=
  trap '[[ -z $folder ]] || rm -rf "$folder"' EXIT
  folder=$(mktemp -d "${TMPDIR:-/tmp}/smoke.XXXXXX")
  if [[ -n $is_local ]]; then
    echo 'noproxy = "*"' >"$folder/curl"
    return
  fi
  command -v gcloud >/dev/null || misused "gcloud is missing, which gives the token"
  local token
  token=$(identity_token) || misused "gcloud gave no identity token; its own words stand above"
  [[ -n $token ]] || misused "gcloud gave an empty identity token"
  # A builtin: unlike a program's, its arguments are in no list of processes.
  printf 'header = "Authorization: Bearer %s"\n' "$token" >"$folder/curl"
}

identity_token() {
  if [[ -n ${SMOKE_ACCOUNT:-} ]]; then
    # A warning about impersonation stands on standard error every time; so do real errors, hence unsilenced.
    gcloud auth print-identity-token \
      --impersonate-service-account="$SMOKE_ACCOUNT" \
      --audiences="$url" \
      --include-email
  else
    gcloud auth print-identity-token
  fi
}

# ask PATH SECONDS [MORE…]: leaves the answer in $folder/answer, its status in `status`, 000 for none, and how
# long it took in `took`.
ask() {
  local path=$1 seconds=$2 told
  shift 2
  : >"$folder/answer"
  told=$(curl \
    --config "$folder/curl" \
    --globoff \
    --silent \
    --max-time "$seconds" \
    --output "$folder/answer" \
    --write-out '%{http_code} %{time_total}' \
    "$@" \
    "$url$path") || told="000 0"
  status=${told% *}
  took=${told#* }
}

refuse_strangers() {
  case $status in
    401) wrong "401 at $url: the token is not accepted. Is this the service's own URL, and is the clock right?" ;;
    403) wrong "403 at $url: the caller may not invoke the service. Grant it roles/run.invoker there, as in
  gcloud run services add-iam-policy-binding SERVICE --region REGION \\
    --member user:YOU or serviceAccount:${SMOKE_ACCOUNT:-ACCOUNT} --role roles/run.invoker
(a grant takes a minute or two to be known everywhere)" ;;
  esac
}

wait_until_healthy() {
  local left tries=0
  SECONDS=0
  while :; do
    left=$((deadline - SECONDS))
    ((left > 0)) || wrong "not ready within $deadline s; the last answer of /health was $(meaning "$status").
The instance's log says how far it came."
    ask /health "$((left < TRY_SECONDS ? left : TRY_SECONDS))"
    tries=$((tries + 1))
    [[ $status != 200 ]] || break
    refuse_strangers
    sleep "$PAUSE_SECONDS"
  done
  if ((tries == 1 && SECONDS < WARM_SECONDS)); then
    echo "ready: it was warm"
  else
    echo "ready: after $SECONDS s of cold start"
  fi
}

meaning() {
  case $1 in
    000) echo "none at all (no connection, or no answer in time)" ;;
    404) echo "404 (is this the right URL, and may it be reached from here? --ingress)" ;;
    429) echo "429 (Cloud Run has no instance to give: quota, or --max-instances)" ;;
    503) echo "503 (starting, or the engine is dead)" ;;
    *) echo "$1" ;;
  esac
}

check_model() {
  ask /v1/models 60
  [[ $status == 200 ]] || wrong "/v1/models answered $(meaning "$status")"
  python3 "$here/smoke/judge.py" models "$model" "$folder/answer" || wrong "the model; see above"
}

read_page() {
  local says
  python3 "$here/smoke/judge.py" request "$model" "$here/smoke/page.png" >"$folder/request"
  ask /v1/chat/completions "$READ_SECONDS" \
    --header 'Content-Type: application/json' \
    --data-binary "@$folder/request"
  [[ $status == 200 ]] || wrong "reading a page answered $(meaning "$status"): $(
    python3 "$here/smoke/judge.py" error "$folder/answer"
  )"
  says=$(python3 "$here/smoke/judge.py" page "$here/smoke/words.txt" "$folder/answer") ||
    wrong "the page; see above"
  echo "page: $says, in $took s"
}

read_arguments "$@"
check_arguments
prepare_curl
wait_until_healthy
check_model
read_page
echo "good: $url"
