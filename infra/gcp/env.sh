# shellcheck shell=bash disable=SC2034 # the scripts that read this file use its names
# Every name, setting and number of the cloud, once. Sourced by lib.sh, never run.
#
# What an operator decides stands in one file, bucketscribe.env beside the README (ENV_FILE names another one):
# NAME=value a line, read as text and never evaluated. The environment is not looked at, so that a variable left
# over in somebody's shell cannot change what is deployed. bucketscribe.env.example shows every setting.

ENV_FILE=${ENV_FILE:-$ROOT/bucketscribe.env}

# ---- reading the file -------------------------------------------------------------------------------------

KNOWN_SETTINGS=()
FILE_NAMES=()
FILE_VALUES=()

read_env_file() {
  local line name
  [[ -f $ENV_FILE ]] || die "there is no $ENV_FILE: copy bucketscribe.env.example to it, and set PROJECT"
  while IFS= read -r line || [[ -n $line ]]; do
    line=$(trimmed "$line")
    [[ -n $line && $line != '#'* ]] || continue
    [[ $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || die "$ENV_FILE has a line that is no NAME=value: $line"
    name=${line%%=*}
    case " ${FILE_NAMES[*]-} " in
    *" $name "*) die "$ENV_FILE sets $name twice" ;;
    esac
    FILE_NAMES+=("$name")
    FILE_VALUES+=("$(unquoted "${line#*=}")")
  done <"$ENV_FILE"
}

trimmed() {
  local text=${1#"${1%%[![:space:]]*}"}
  printf '%s' "${text%"${text##*[![:space:]]}"}"
}

# unquoted TEXT: without the quotes around the whole of it.
unquoted() {
  local text=$1
  case $text in
  \"*\" | \'*\') text=${text:1:${#text}-2} ;;
  esac
  printf '%s' "$text"
}

# setting NAME DEFAULT [PATTERN]: takes the file's value, or the default. PATTERN, an extended regular expression, is
# what the whole value must look like.
setting() {
  local name=$1 value=$2 pattern=${3:-.*} at
  KNOWN_SETTINGS+=("$name")
  for ((at = 0; at < ${#FILE_NAMES[@]}; at++)); do
    [[ ${FILE_NAMES[at]} != "$name" ]] || value=${FILE_VALUES[at]}
  done
  [[ $value =~ ^($pattern)$ ]] || die "set $name in $ENV_FILE: '$value' does not look like $pattern"
  printf -v "$name" '%s' "$value"
}

# A misspelt setting would be ignored in silence, and its default deployed.
refuse_unknown_settings() {
  local name
  for name in ${FILE_NAMES[@]+"${FILE_NAMES[@]}"}; do
    case " ${KNOWN_SETTINGS[*]} " in
    *" $name "*) ;;
    *) die "$ENV_FILE sets $name, which nothing reads; the settings are: ${KNOWN_SETTINGS[*]}" ;;
    esac
  done
}

# ---- what an operator decides -----------------------------------------------------------------------------

NUMBER='[1-9][0-9]*'
TEXT='.+'

read_env_file

setting PROJECT '' '[a-z][a-z0-9-]{4,28}[a-z0-9]'
setting REGION europe-west4 '[a-z]+-[a-z]+[0-9]+'    # one with L4s: infra/README.md
setting INPUT_BUCKET "$PROJECT-documents" '[a-z0-9][a-z0-9._-]+'
setting OUTPUT_BUCKET "$PROJECT-markdown" '[a-z0-9][a-z0-9._-]+'
setting BUCKET_LOCATION "$REGION" '[A-Za-z0-9-]+'    # of both buckets; the trigger must be where they are
setting PAGES_DAYS 0 '[0-9]+'                        # delete single pages after so many days; 0 keeps them

# The service that reads. With an OCR_URL no GPU service is made, and pages go there.
setting OCR_URL '' '(https://[^/ ]+)?'
setting GPUS 3 "$NUMBER"                             # instances at most, each one L4
setting GPU_VCPU 8 '4|8'                             # with 16 or 32 GiB: more start faster and cost more
setting PROFILE lightonocr-2-1b '[a-z0-9-]+'         # a file of gpu_service/profiles
setting CUDA_COMPATIBILITY 0 '0|1'                   # gpu_service/README.md, traps

setting SWEEP_SCHEDULE '*/10 * * * *'
setting ALERT_EMAIL '' '([^@ ]+@[^@ ]+)?'            # whom alerts wake; none are sent without
setting GITHUB_OWNER ''                              # for the Cloud Build trigger
setting GITHUB_REPOSITORY ''
setting GITHUB_BRANCH main '[A-Za-z0-9._/-]+'
setting BUILD_REGION global '[a-z0-9-]+'             # of Cloud Build; regions have quotas of their own
setting BUILD_MACHINE e2-highcpu-32 '[a-z0-9-]+'     # for the GPU service's image

# What the functions' settings table in the README explains; the defaults are those of bucketscribe.settings.
setting BUCKETSCRIBE_INCLUDE '*' "$TEXT"
setting BUCKETSCRIBE_IGNORE 'gcloud/tmp/parallel_composite_uploads/*'
setting BUCKETSCRIBE_RETENTION keep 'keep|follow'
setting BUCKETSCRIBE_DOCUMENT_MIB 512 "$NUMBER"
setting BUCKETSCRIBE_DOCUMENT_PAGES 5000 "$NUMBER"
setting BUCKETSCRIBE_IMAGE_PIXELS 50000000 "$NUMBER"
setting BUCKETSCRIBE_EXPRESS_PAGES 20 "$NUMBER"
setting BUCKETSCRIBE_IMAGE_ENCODING auto 'auto|png|jpeg'
setting BUCKETSCRIBE_RENDER_SECONDS 20 "$NUMBER"
setting BUCKETSCRIBE_CALL_RESERVE_SECONDS 300 "$NUMBER"
setting BUCKETSCRIBE_MODEL_CALLS 2 "$NUMBER"
setting BUCKETSCRIBE_MODEL_TIMEOUTS 2 "$NUMBER"
setting BUCKETSCRIBE_PARKED_DAYS 7 "$NUMBER"

refuse_unknown_settings

# ---- names ------------------------------------------------------------------------------------------------

EXPRESS_TOPIC=page-tasks-express
BULK_TOPIC=page-tasks-bulk
DEAD_TOPIC=page-tasks-dead
FINISHED_TOPIC=documents-finished

EXPRESS_SUBSCRIPTION=page-tasks-express
BULK_SUBSCRIPTION=page-tasks-bulk
DEAD_SUBSCRIPTION=page-tasks-dead

# A function is named after its door, in the way of Cloud Run, whose service it is.
function_name() { printf 'bucketscribe-%s' "${1//_/-}"; }
account_email() { printf '%s@%s.iam.gserviceaccount.com' "$1" "$PROJECT"; }
member() { printf 'serviceAccount:%s' "$(account_email "$1")"; }

ON_UPLOAD_ACCOUNT=bucketscribe-on-upload
ON_PAGE_TASK_ACCOUNT=bucketscribe-on-page-task
ON_DEAD_LETTER_ACCOUNT=bucketscribe-on-dead-letter
SWEEP_ACCOUNT=bucketscribe-sweep
PUSH_ACCOUNT=bucketscribe-pubsub-push
TRIGGER_ACCOUNT=bucketscribe-trigger
SCHEDULER_ACCOUNT=bucketscribe-scheduler
BUILD_ACCOUNT=bucketscribe-build                     # builds: other people's code runs in it
DEPLOY_ACCOUNT=bucketscribe-deploy                   # the pipeline's
GPU_ACCOUNT=lightonocr-gpu
ACCOUNTS=(
  "$ON_UPLOAD_ACCOUNT" "$ON_PAGE_TASK_ACCOUNT" "$ON_DEAD_LETTER_ACCOUNT" "$SWEEP_ACCOUNT" "$PUSH_ACCOUNT"
  "$TRIGGER_ACCOUNT" "$SCHEDULER_ACCOUNT" "$GPU_ACCOUNT" "$BUILD_ACCOUNT" "$DEPLOY_ACCOUNT"
)

GPU_SERVICE=lightonocr
REPOSITORY=bucketscribe
STAGING_BUCKET=${PROJECT}_cloudbuild                  # where gcloud puts a build's source, in a bucket that it makes
IMAGE=$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/$GPU_SERVICE
DELETED_TRIGGER=bucketscribe-on-deleted
SWEEP_JOB=bucketscribe-sweep
BUILD_TRIGGER=bucketscribe-main
ALERT_CHANNEL=bucketscribe-operator

# What we call a thing's fingerprint: how it was last deployed, as a label on the thing itself.
APPLIED_LABEL=bucketscribe_applied                   # an underscore: gcloud formats cannot name a key with a hyphen

# ---- numbers ----------------------------------------------------------------------------------------------
# From the number of GPUs. The flow simulation reckons with them (infra/README.md): three L4s 99 % busy over a
# 10,000-page flood with 0.07 refusals a page.

GPU_MEMORY_GIB=$((GPU_VCPU * 4))
GPU_CONCURRENCY=36                                   # 32 to 48 is flat; the default of 640 never scales out
MAX_NUM_SEQS=$GPU_CONCURRENCY
MAX_NUM_QUEUED_REQS=48
GPU_TIMEOUT_SECONDS=600

# One worker instance has one limiter, which sees everything, and one flight a page. One instance holds up to
# 1,000 requests, which is the waiting room of six GPUs; beyond that each has its share of the ceiling. Pub/Sub
# never has more than 3,000 pages of a lane out, and Cloud Run starts an instance when 60 % of the others' room is
# taken: with more room than 5,000 in all, the last instances and their shares of the GPUs would lie fallow.
GPUS_A_WORKER=6
MOST_PAGES_OUT=3000
WORKERS=$(((GPUS + GPUS_A_WORKER - 1) / GPUS_A_WORKER))
PAGES_A_GPU=$((GPU_CONCURRENCY * 9 / 10))
PAGES_AT_GPU=$((PAGES_A_GPU * GPUS / WORKERS))
PAGES_WAITING=$((1000 * GPUS / GPUS_A_WORKER / WORKERS))
((PAGES_WAITING * WORKERS <= MOST_PAGES_OUT * 10 / 6)) || PAGES_WAITING=$((MOST_PAGES_OUT * 10 / 6 / WORKERS))
((PAGES_WAITING >= PAGES_AT_GPU)) || PAGES_WAITING=$PAGES_AT_GPU

# A page's budget fits into the request, and the request into the ack deadline, which cannot be extended.
ACK_DEADLINE_SECONDS=600
PAGE_TIMEOUT_SECONDS=$ACK_DEADLINE_SECONDS
PAGE_SECONDS=540
EVENT_TIMEOUT_SECONDS=540                            # the most that an event-driven function may take

DELIVERY_ATTEMPTS=100
MINIMUM_BACKOFF_SECONDS=10
MAXIMUM_BACKOFF_SECONDS=400                          # with 600 s GPUs lie idle while pages wait out their pauses
RETENTION_DAYS=7

# ---- the doors --------------------------------------------------------------------------------------------

# size_of DOOR: sets VCPU, CONCURRENCY, INSTANCES, TIMEOUT_SECONDS, RENDER_WORKERS, RENDER_MIB, CACHE_MIB and
# MEMORY_MIB. The house's sum: render processes, document cache and 1 GiB for Python must fit into the memory,
# because the folder on Cloud Run is memory.
size_of() {
  INSTANCES=1 RENDER_WORKERS=1 RENDER_MIB=2048 CACHE_MIB=1024 TIMEOUT_SECONDS=$EVENT_TIMEOUT_SECONDS VCPU=1
  case $1 in
  # Counts pages: a document in the cache, a render process that opens it.
  on_upload) INSTANCES=10 CONCURRENCY=8 ;;
  # 2 vCPU draw 0.59 pages/s a GPU with room to spare, at 25 ms a page.
  on_page_task)
    INSTANCES=$WORKERS CONCURRENCY=$PAGES_WAITING RENDER_WORKERS=2 CACHE_MIB=2048 VCPU=2
    TIMEOUT_SECONDS=$PAGE_TIMEOUT_SECONDS
    ;;
  # Draws nothing and fetches nothing; assembles now and then.
  on_dead_letter) CONCURRENCY=20 RENDER_MIB=256 CACHE_MIB=$BUCKETSCRIBE_DOCUMENT_MIB ;;
  # Plans anew what never came further than received, as on_upload does.
  sweep) CONCURRENCY=1 ;;
  *) die "there is no door $1; the doors are: ${DOORS[*]}" ;;
  esac
  ((CACHE_MIB >= BUCKETSCRIBE_DOCUMENT_MIB)) || CACHE_MIB=$BUCKETSCRIBE_DOCUMENT_MIB
  MEMORY_MIB=$(allowed_memory_mib $((RENDER_WORKERS * RENDER_MIB + CACHE_MIB + 1024)))
  # Cloud Run gives a vCPU at most 4 GiB.
  while ((MEMORY_MIB > VCPU * 4096)); do VCPU=$((VCPU * 2)); done
}

allowed_memory_mib() {
  local mib
  for mib in 512 1024 2048 4096 8192 16384 32768; do
    ((mib < $1)) || { printf '%s' "$mib" && return; }
  done
  die "a function would need $1 MiB, more than Cloud Run has; lower BUCKETSCRIBE_DOCUMENT_MIB"
}

# In the order of their deployment: workers before fan-out, so that a new message never meets an old worker.
WORKER_DOORS=(on_page_task on_dead_letter sweep)
DOORS=("${WORKER_DOORS[@]}" on_upload)
