# The most common commands. `just` lists them (installation: https://just.systems). Each recipe is one or two plain commands.

_list:
    @{{ just_executable() }} --list --unsorted

# Start the API, the embedded AWS and the demo data on http://localhost:8000 (pass options after it, such as `just run --reset`)
run *options:
    cargo run -- {{ options }}

# Run every test
test:
    cargo test --workspace

# Mixed traffic with random faults and killed functions, and an account of every accepted request (options: --minutes 1 --seed 7)
soak *options:
    cargo bench --profile dev -p local --bench soak -- {{ options }}

# Check formatting and lints
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# Run everything that must pass before a merge
ci:
    .ci/run

# Fuzz a parser for ten minutes: `just fuzz cursors` (targets and installation: shared/fuzz/README.md)
fuzz target:
    mkdir -p shared/fuzz/corpus/{{ target }}
    cd shared/fuzz && cargo +nightly fuzz run {{ target }} corpus/{{ target }} seeds/{{ target }} -- -dict=dictionaries/{{ target }}.dict -max_len=4096 -timeout=30 -max_total_time=600

# Build with SAM and deploy: `just deploy RecordingsBucket=your-bucket Architecture=x86_64`
deploy *parameters:
    sam build {{ if parameters == "" { "" } else { "--parameter-overrides " + parameters } }}
    sam deploy {{ if parameters == "" { "" } else { "--parameter-overrides " + parameters } }}
