#!/bin/sh
# A stand-in for the numbered menus of an older APC rack PDU, behind a real telnet server: apc_menu.sh STATE
# User apc, password apc pass; outlet 3 is the one that is there. STATE is a file that holds on or off.
state=$1
ask() {
  printf '\r\n%s\r\n\r\n> ' "$*"
  read -r answer || exit 0
  answer=$(printf %s "$answer" | tr -d '\r')
}
printf '\r\nUser Name : '
read -r user || exit 0
printf 'Password  : '
read -r password || exit 0
[ "$(printf %s "$user $password" | tr -d '\r')" = 'apc apc pass' ] || exit 0
while :; do
  ask '------- Control Console -------  1- Device Manager  2- Network  3- System  4- Logout'
  [ "$answer" = 1 ] || continue
  ask '------- Device Manager -------  1- Phase Management  2- Outlet Management  3- Power Supply Status'
  [ "$answer" = 2 ] || continue
  ask '------- Outlet Management -------  1- Outlet Control/Configuration  2- Outlet Restriction'
  [ "$answer" = 1 ] || continue
  ask '------- Outlet Control/Configuration -------  1- Outlet 1  ON  2- Outlet 2  ON  3- Outlet 3  ON'
  [ "$answer" = 3 ] || continue
  ask '------- Outlet 3 -------  1- Control Outlet  2- Configure Outlet'
  [ "$answer" = 1 ] || continue
  ask '------- Control Outlet -------  1- Immediate On  2- Immediate Off  3- Immediate Reboot'
  wanted=$answer
  printf "\\r\\n        Enter 'YES' to continue or <ENTER> to cancel : "
  read -r yes || exit 0
  if [ "$(printf %s "$yes" | tr -d '\r')" = YES ]; then
    if [ "$wanted" = 1 ]; then echo on >"$state"; else echo off >"$state"; fi
    printf '\r\n        Command successfully issued.\r\n'
  fi
  printf '\r\n        Press <ENTER> to continue...'
  read -r yes || exit 0
done
