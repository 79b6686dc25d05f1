#!/usr/bin/env bash
# Makes the pictures of the documents anew, from the program itself. Needs chromium, chromium-driver and, for emoji in
# colour, fonts-noto-color-emoji.
#
#   docs/pictures/make.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
encoded="$(mktemp)"
pages="$(mktemp -d)"
trap 'rm -rf "$encoded" "$pages"' EXIT
BOARDHAND_PICTURE="$encoded" cargo test --locked --test it -- --exact browser::a_failed_run_is_read_beside_its_thread
base64 -d "$encoded" >docs/pictures/playground.png
BOARDHAND_PICTURES="$pages" cargo test --locked --test it -- --exact \
  web::pages_fit_a_phone_and_keep_the_rules_of_accessibility_in_light_and_dark
for name in wall run; do base64 -d "$pages/$name.png.base64" >"docs/pictures/$name.png"; done
ls -l docs/pictures/*.png
