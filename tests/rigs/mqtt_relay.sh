#!/bin/sh
# A stand-in for a Tasmota relay behind a real broker: mqtt_relay.sh PORT STATE [user password]
# Listens on cmnd/plug/POWER1, answers on stat/plug/RESULT; STATE is a file that holds on or off.
port=$1 state=$2
shift 2
[ $# -lt 2 ] || set -- -u "$1" -P "$2"
mosquitto_sub -h 127.0.0.1 -p "$port" "$@" -t 'cmnd/plug/POWER1' -F '%p.' | while read -r word; do
  case $word in
    ON.) echo on >"$state" ;;
    OFF.) echo off >"$state" ;;
  esac
  shown=$(tr a-z A-Z <"$state")
  mosquitto_pub -h 127.0.0.1 -p "$port" "$@" -t stat/plug/RESULT -m '{"POWER2":"ON"}'
  mosquitto_pub -h 127.0.0.1 -p "$port" "$@" -t stat/plug/RESULT -m "{\"POWER1\":\"$shown\"}"
done
