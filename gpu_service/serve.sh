#!/usr/bin/env bash
# The container's entry point: vLLM's OpenAI server with the flags that suit page images, one a line.
#
# Every flag and its meaning was read in vLLM 0.30.0 (tests/fixtures/vllm/arguments.txt lists what its parser
# takes). What is passed to this script goes to vLLM after these flags, so it can override them.
set -Eeuo pipefail

MODEL_FOLDER=${MODEL_FOLDER:-/opt/model}
PORT=${PORT:-8000} # Cloud Run sets it to the container port
MAX_NUM_SEQS=${MAX_NUM_SEQS:-36}
MAX_NUM_QUEUED_REQS=${MAX_NUM_QUEUED_REQS:-48}
MAX_MODEL_LEN=${MAX_MODEL_LEN:-16384}
MAX_NUM_BATCHED_TOKENS=${MAX_NUM_BATCHED_TOKENS:-8192}
GPU_MEMORY_UTILIZATION=${GPU_MEMORY_UTILIZATION:-0.92}
SHUTDOWN_TIMEOUT=${SHUTDOWN_TIMEOUT:-9}
OPTIMIZATION_LEVEL=${OPTIMIZATION_LEVEL:-2}

# shellcheck source=gpu_service/profiles/lightonocr-2-1b.env
source "$MODEL_FOLDER/profile.env"

# The limit counts pages that are read and pages that wait: below MAX_NUM_SEQS it would idle the GPU.
if ((MAX_NUM_QUEUED_REQS < MAX_NUM_SEQS)); then
  echo "serve.sh: MAX_NUM_QUEUED_REQS ($MAX_NUM_QUEUED_REQS) is below MAX_NUM_SEQS ($MAX_NUM_SEQS)" >&2
  exit 2
fi

flags=(
  # What clients name in `model`; the path of the weights would be the name otherwise.
  --served-model-name "$MODEL"
  --host 0.0.0.0
  --port "$PORT"
  # What the weights are stored in; an L4 computes in it.
  --dtype bfloat16

  # An image of at most 3025 tokens, and 4096 of text, fit into half of this, the model's whole context: the
  # rest is room for a longer try. It costs no memory: pages take what they use.
  --max-model-len "$MAX_MODEL_LEN"
  # As many pages at once as Cloud Run sends here (--concurrency). An L4's memory holds about 45 typical
  # pages; what does not fit is put back and read later.
  --max-num-seqs "$MAX_NUM_SEQS"
  # Without it the queue is unbounded. Counts reading and waiting pages together; one more is refused at once
  # with a 503, which the caller asks again elsewhere.
  --max-num-queued-reqs "$MAX_NUM_QUEUED_REQS"
  # vLLM's default for a server is 2048, less than one page's image (2145 for A4): a page would be prefilled
  # in pieces, and two never together.
  --max-num-batched-tokens "$MAX_NUM_BATCHED_TOKENS"
  # vLLM's own default; of an L4's 24 GB the weights take 2, the rest holds pages.
  --gpu-memory-utilization "$GPU_MEMORY_UTILIZATION"

  # One page a request; a second image is refused with a 400.
  --limit-mm-per-prompt '{"image":1}'
  # No page comes twice: both caches would only cost, 4 GiB of the container's memory the first.
  --mm-processor-cache-gb 0
  --no-enable-prefix-caching

  # Sampling is the caller's business: with the default, `auto`, the repository's generation_config.json
  # would fill in what a request leaves open (top_k, max_new_tokens).
  --generation-config vllm

  # A request with an http URL would have the server fetch it, from inside the project's network. vLLM takes
  # an empty list for "all allowed", so one name is given that no URL's host can equal: hosts are compared in
  # lower case, and .invalid is nobody's (RFC 6761). All are refused with a 400 before a name is looked up.
  # Local files need --allowed-local-media-path, which is not given.
  --allowed-media-domains NO-URL-IS-FETCHED.INVALID

  # On SIGTERM finish what is being read; the default, 0, breaks it off. Cloud Run kills after 10 s.
  --shutdown-timeout "$SHUTDOWN_TIMEOUT"

  # Probes ask every few seconds.
  --disable-access-log-for-endpoints "/health,/metrics"
  # The default, said aloud: neither requests nor what was read may be in a log.
  --no-enable-log-requests

  # 2, the default: torch.compile and full CUDA graphs. 1 captures fewer graphs, 0 compiles nothing: both
  # start sooner and read more slowly; measure before changing it (README, cold start).
  --optimization-level "$OPTIMIZATION_LEVEL"
)

# exec: vLLM itself gets Cloud Run's SIGTERM.
exec vllm serve "$MODEL_FOLDER/weights" "${flags[@]}" "$@"
