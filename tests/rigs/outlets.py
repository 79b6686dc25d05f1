#!/usr/bin/python3
"""The outlet of a PDU, behind net-snmp's snmpd (`pass_persist`).

outlets.py STATE TABLE: STATE is a file that holds on or off. Each line of TABLE is an object:
  command OID A B   writing A switches on and B off; reading gives A or B
  write-on OID A    writing A switches on; reading gives 0
  write-off OID A   writing A switches off; reading gives 0
  state OID A B     read only: A while on, B while off
  stuck OID A B     takes A and B, and the outlet stays as it is
"""
import sys

STATE, TABLE = sys.argv[1], sys.argv[2]


def is_on():
    with open(STATE) as f:
        return f.read().strip() == 'on'


def switch(on):
    with open(STATE, 'w') as f:
        f.write('on' if on else 'off')


def objects():
    found = {}
    with open(TABLE) as f:
        for line in f:
            kind, oid, *values = line.split()
            found[tuple(int(part) for part in oid.strip('.').split('.'))] = (kind, [int(v) for v in values])
    return found


def value(kind, values):
    if kind.startswith('write'):
        return 0
    return values[0] if is_on() else values[1]


def write(oid, words):
    if oid not in OBJECTS:
        return 'not-writable'
    kind, values = OBJECTS[oid]
    if kind == 'state':
        return 'not-writable'
    if words[0] != 'integer':
        return 'wrong-type'
    if int(words[1]) not in values:
        return 'wrong-value'
    if kind != 'stuck':
        switch(kind == 'write-on' or kind == 'command' and int(words[1]) == values[0])
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
