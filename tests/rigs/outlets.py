#!/usr/bin/python3
"""The outlets of a PDU, behind net-snmp's snmpd (`pass_persist`).

outlets.py STATE TABLE: STATE is a file that holds on or off. Each line of TABLE is an object of the outlet:
  command OID A B   writing A switches on and B off; reading gives A or B
  write-on OID A    writing A switches on; reading gives 0
  write-off OID A   writing A switches off; reading gives 0
  state OID A B     read only: A while on, B while off
  stuck OID A B     takes A and B, and the outlet stays as it is
  outlet STATE QMP  what follows is another outlet: its state is that file, and what hangs on it is the QEMU that
                    listens on the socket QMP
"""
import json
import os
import socket
import sys

STATE, TABLE = sys.argv[1], sys.argv[2]
QMP_SECONDS = 5


class Outlet:
    def __init__(self, state, qmp=None):
        self.state, self.qmp = state, qmp

    def is_on(self):
        with open(self.state) as f:
            return f.read().strip() == 'on'

    def switch(self, on):
        if self.qmp and on != self.is_on():
            self.drive(['cont'] if on else ['stop', 'system_reset'])
        with open(self.state + '.new', 'w') as f:
            f.write('on' if on else 'off')
        os.replace(self.state + '.new', self.state)

    def drive(self, commands):
        """Off is a machine that stands before its first instruction; a machine that is gone stays gone."""
        try:
            with socket.socket(socket.AF_UNIX) as qmp:
                qmp.settimeout(QMP_SECONDS)
                qmp.connect(self.qmp)
                answers = qmp.makefile()
                answers.readline()
                for command in ['qmp_capabilities'] + commands:
                    qmp.sendall(json.dumps({'execute': command}).encode() + b'\n')
                    while not {'return', 'error'} & json.loads(answers.readline()).keys():
                        pass
        except (OSError, ValueError):
            pass


def objects():
    found, outlet = {}, Outlet(STATE)
    with open(TABLE) as f:
        for line in f:
            kind, first, *rest = line.split()
            if kind == 'outlet':
                outlet = Outlet(first, *rest)
            else:
                oid = tuple(int(part) for part in first.strip('.').split('.'))
                found[oid] = (kind, [int(value) for value in rest], outlet)
    return found


def value(kind, values, outlet):
    if kind.startswith('write'):
        return 0
    return values[0] if outlet.is_on() else values[1]


def write(oid, words):
    if oid not in OBJECTS:
        return 'not-writable'
    kind, values, outlet = OBJECTS[oid]
    if kind == 'state':
        return 'not-writable'
    if words[0] != 'integer':
        return 'wrong-type'
    if int(words[1]) not in values:
        return 'wrong-value'
    if kind != 'stuck':
        outlet.switch(kind == 'write-on' or kind == 'command' and int(words[1]) == values[0])
    return 'DONE'


def line():
    text = sys.stdin.readline()
    if not text:
        sys.exit(0)
    return text.strip()


OBJECTS = objects()
while True:
    verb = line()
    if not verb:
        continue  # snmpd sends an empty line after a write; an answer to it would shift every later one
    if verb == 'PING':
        answer = ['PONG']
    elif verb in ('get', 'getnext', 'set'):
        oid = tuple(int(part) for part in line().strip('.').split('.'))
        if verb == 'set':
            answer = [write(oid, line().split())]
        else:
            if verb == 'getnext':
                oid = min((known for known in OBJECTS if known > oid), default=None)
            if oid in OBJECTS:
                answer = ['.' + '.'.join(str(part) for part in oid), 'integer', value(*OBJECTS[oid])]
            else:
                answer = ['NONE']
    else:
        answer = ['NONE']
    print(*answer, sep='\n', flush=True)
