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
  web::pages_fit_a_phone_and_keep_the_rules_of_accessibility_in_light_and_dark \
  web::history::history_is_read_by_keyboard_on_a_phone_and_in_the_dark \
  web::act::a_board_is_reserved_extended_switched_and_released_on_its_page \
  web::admin::two_builds_stand_side_by_side_and_the_chat_links_there \
  web::admin::whoever_runs_the_lab_sees_how_it_is_and_mends_it
for name in wall run history board compare lab; do base64 -d "$pages/$name.png.base64" >"docs/pictures/$name.png"; done
ls -l docs/pictures/*.png
