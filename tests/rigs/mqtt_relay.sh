#!/bin/sh
# A stand-in for a Tasmota device behind a real broker, after tasmota.github.io/docs/MQTT and /Commands:
# mqtt_relay.sh PORT STATE RELAYS [user password]. STATE is a file that holds on or off: the first relay's; all others
# are on. A command without a payload asks. What it comes to is told twice, on stat/plug/RESULT and on a topic of the
# relay's own; a device with one relay leaves its number out. tele/plug/LWT says, retained, that it is there.
port=$1 state=$2 relays=$3
shift 3
[ $# -lt 2 ] || set -- -u "$1" -P "$2"
tell() { mosquitto_pub -h 127.0.0.1 -p "$port" "$@"; }
tell "$@" -t tele/plug/LWT -r -m Online
mosquitto_sub -h 127.0.0.1 -p "$port" "$@" -t 'cmnd/plug/+' -F '%t %p.' \
  --will-topic tele/plug/LWT --will-retain --will-payload Offline | while read -r topic word; do
  relay=$(echo "${topic##*/}" | tr a-z A-Z)
  relay=${relay#POWER} word=$(echo "${word%.}" | tr a-z A-Z)
  [ -n "$relay" ] || relay=1
  if ! [ "$relay" -le "$relays" ] 2>/dev/null; then
    tell "$@" -t stat/plug/RESULT -m '{"Command":"Unknown"}'
    continue
  fi
  case $relay$word in
    1ON | 11 | 1TRUE) echo on >"$state" ;;
    1OFF | 10 | 1FALSE) echo off >"$state" ;;
  esac
  shown=ON
  [ "$relay" != 1 ] || shown=$(tr a-z A-Z <"$state")
  [ "$relays" != 1 ] || relay=
  # A word of another relay may come in between.
  [ "$relays" = 1 ] || tell "$@" -t stat/plug/RESULT -m "{\"POWER$relays\":\"ON\"}"
  tell "$@" -t stat/plug/RESULT -m "{\"POWER$relay\":\"$shown\"}"
  tell "$@" -t "stat/plug/POWER$relay" -m "$shown"
done
