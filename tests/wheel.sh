#!/usr/bin/env bash
# The wheel as a user of any Python gets it: built here, installed with its dependencies into a new environment, and used
# in an empty folder. Needs a network and some gigabytes; CI installs the wheel into its own environment instead.
#
#   tests/wheel.sh python3.13
set -euo pipefail

python=$(command -v "${1:-python3}")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$python" -m venv environment
bin=$work/environment/bin
"$bin/python" -m pip wheel --quiet --no-deps --wheel-dir wheels "$root"
wheel=$(echo wheels/*.whl)
"$bin/python" -m pip install --quiet "$wheel[export]"

mkdir empty && cd empty
"$bin/python" -m imprint_sweep.cli.commands.demo | tee demo.txt
# The accuracies of the five methods in the tests' own environment.
for accuracy in 94.81 89.81 81.48 80.74; do
    grep -q " $accuracy %" demo.txt || { echo "wheel.sh: the demo does not show $accuracy %" >&2; exit 1; }
done
"$bin/imprint-sweep" -m gen=mean,kmeans k=1,2
"$bin/imprint-status"
"$bin/imprint-best" --task digits
"$bin/imprint-report"
"$bin/imprint-export" "$("$bin/python" -c 'import imprint_sweep as ims; print(ims.load_results("outputs/results")["cell_id"][0])')" \
    --to head.onnx
echo "the wheel works under $("$bin/python" --version)"
