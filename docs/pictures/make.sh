#!/usr/bin/env bash
# Makes the pictures of the documents anew, from the program itself. Needs chromium, chromium-driver and, for emoji in
# colour, fonts-noto-color-emoji.
#
#   docs/pictures/make.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
encoded="$(mktemp)"
trap 'rm -f "$encoded"' EXIT
BOARDHAND_PICTURE="$encoded" cargo test --locked --test it -- --exact browser::a_failed_run_is_read_beside_its_thread
base64 -d "$encoded" >docs/pictures/playground.png
ls -l docs/pictures/playground.png
