#!/bin/sh
# A stand-in for the command line of an APC rack PDU, behind a real telnet server: apc_cli.sh STATE
# User apc, password apc pass. olOn, olOff and olStatus as the maker's CLI guide has them; E102 for an outlet that is
# not there. STATE is a file that holds on or off.
state=$1
printf '\r\nUser Name : '
read -r user
printf 'Password  : '
stty -echo 2>/dev/null
read -r password
stty echo 2>/dev/null
user=$(printf %s "$user" | tr -d '\r') password=$(printf %s "$password" | tr -d '\r')
if [ "$user" != apc ] || [ "$password" != 'apc pass' ]; then
  sleep 1
  printf '\r\n\r\nUser Name : '
  read -r user
  exit 0
fi
printf '\r\n\r\nSchneider Electric               Network Management Card AOS   v6.4.0\r\n'
while printf '\r\napc>' && read -r verb outlet; do
  verb=$(printf %s "$verb" | tr -d '\r') outlet=$(printf %s "$outlet" | tr -d '\r')
  case $verb in
    quit) exit 0 ;;
    olOn | olOff | olStatus)
      if [ "$outlet" != 3 ]; then
        printf 'E102: Parameter Error\r\n'
        continue
      fi
      [ "$verb" != olOn ] || echo on >"$state"
      [ "$verb" != olOff ] || echo off >"$state"
      printf 'E000: Success\r\n'
      [ "$verb" != olStatus ] || printf '  3: Outlet 3: %s\r\n' "$(sed 's/on/On/; s/off/Off/' "$state")"
      ;;
    *) printf 'E101: Command Not Found\r\n' ;;
  esac
done
