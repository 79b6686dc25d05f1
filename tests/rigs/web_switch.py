#!/usr/bin/python3
"""A stand-in for switches with an HTTP interface, written after their makers' documents: one outlet behind all of them.

web_switch.py PORT STATE LOG [CERTIFICATE KEY]: STATE is a file that holds on or off, LOG gets each request that was
let in. User admin, password pass word, token a-token. With a certificate it speaks HTTPS.
  /relay/0 Shelly 1 (basic) | /rpc Shelly 2 (digest SHA-256) | /cm Tasmota (in the address) | /netio.json NETIO (basic)
  /restapi/ Digital Loggers (digest MD5) | /api/ Home Assistant (bearer) | /switch/ ESPHome (digest MD5)
  /ov.html, /status.json Gude (basic) | /redfish/v1/ Redfish (basic): the state follows half a second later
"""
import base64
import hashlib
import json
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

PORT, STATE, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3]
USER, PASSWORD, TOKEN, NONCE = 'admin', 'pass word', 'a-token', '1739109734'


def is_on():
    with open(STATE) as f:
        return f.read().strip() == 'on'


def switch(on):
    with open(STATE, 'w') as f:
        f.write('on' if on else 'off')


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def reply(self, status, body=None, headers=()):
        data = b'' if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def basic(self):
        good = 'Basic ' + base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        return self.headers.get('Authorization') == good or self.ask('Basic realm="switch"')

    def ask(self, challenge):
        self.reply(401, None, [('WWW-Authenticate', challenge)])
        return False

    def digest(self, algorithm):
        """RFC 7616: the answer to our challenge, computed here by hashlib alone."""
        said = self.headers.get('Authorization', '')
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', said))
        hashed = lambda text: (hashlib.sha256 if algorithm == 'SHA-256' else hashlib.md5)(text.encode()).hexdigest()
        one = hashed(f'{USER}:switch:{PASSWORD}')
        two = hashed(f'{self.command}:{self.path}')
        parts = [one, NONCE, fields.get('nc', ''), fields.get('cnonce', ''), 'auth', two]
        if fields.get('uri') == self.path and fields.get('response') == hashed(':'.join(parts)):
            return True
        return self.ask(f'Digest qop="auth", realm="switch", nonce="{NONCE}", algorithm={algorithm}')

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode()
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        for begin, answer in ANSWERS:
            if url.path.startswith(begin):
                return answer(self, url.path, query, body)
        self.reply(404, 'no such address')

    do_GET = do_POST = do_PUT = handle_any

    def done(self, on=None):
        with open(LOG, 'a') as f:
            f.write(f'{self.command} {urlparse(self.path).path}\n')
        if on is not None:
            switch(on)

    def shelly1(self, path, query, body):
        if self.basic():
            if path != '/relay/0':
                return self.reply(404, 'no such relay')
            self.done({'on': True, 'off': False}.get(query.get('turn')))
            self.reply(200, {'ison': is_on(), 'has_timer': False})

    def shelly2(self, path, query, body):
        if self.digest('SHA-256'):
            call = json.loads(body)
            if call['params']['id'] != 0:
                return self.reply(200, {'id': call['id'], 'error': {'code': -105, 'message': 'no such id'}})
            before = is_on()
            self.done(call['params']['on'] if call['method'] == 'Switch.Set' else None)
            result = {'was_on': before} if call['method'] == 'Switch.Set' else {'id': 0, 'output': is_on()}
            self.reply(200, {'id': call['id'], 'src': 'shelly', 'result': result})

    def tasmota(self, path, query, body):
        if (query.get('user'), query.get('password')) != (USER, PASSWORD):
            return self.reply(200, {'WARNING': 'Need user=<username>&password=<password>'})
        verb, _, word = query.get('cmnd', '').partition(' ')
        if verb != 'Power1':
            return self.reply(200, {'Command': 'Unknown'})
        self.done({'On': True, 'Off': False}.get(word))
        self.reply(200, {'POWER': 'ON' if is_on() else 'OFF'})

    def netio(self, path, query, body):
        if self.basic():
            for output in json.loads(body or '{}').get('Outputs', []):
                self.done(output['Action'] == 1 if output['ID'] == 1 else None)
            others = [{'ID': 2, 'Name': 'b', 'State': 1}, {'ID': 11, 'Name': 'c', 'State': 1}]
            outputs = others + [{'ID': 1, 'Name': 'a', 'State': int(is_on()), 'Action': 6}]
            self.reply(200, {'Agent': {'NumOutputs': 3}, 'Outputs': outputs})

    def dli(self, path, query, body):
        if self.digest('MD5'):
            if path != '/restapi/relay/outlets/=0/state/':
                return self.reply(404)
            if self.command == 'PUT':
                if self.headers.get('X-CSRF') is None:
                    return self.reply(400, 'no X-CSRF')
                self.done(body == 'value=true')
                return self.reply(207, '')
            self.reply(200, [is_on()])

    def home_assistant(self, path, query, body):
        if self.headers.get('Authorization') != f'Bearer {TOKEN}':
            return self.reply(401, 'who?')
        if path.startswith('/api/services/switch/turn_'):
            if json.loads(body)['entity_id'] == 'switch.a':
                self.done(path.endswith('on'))
            return self.reply(200, [])  # also for a switch that it does not know
        if path == '/api/states/switch.a':
            return self.reply(200, {'entity_id': 'switch.a', 'state': 'on' if is_on() else 'off'})
        self.reply(404, {'message': 'Entity not found.'})

    def esphome(self, path, query, body):
        if self.digest('MD5'):
            if path.endswith('/turn_on') or path.endswith('/turn_off'):
                self.done(path.endswith('on'))
                return self.reply(200)
            self.reply(200, {'id': 'switch-a', 'value': is_on(), 'state': 'ON' if is_on() else 'OFF'})

    def gude(self, path, query, body):
        if self.basic():
            if path == '/ov.html':
                self.done(query['s'] == '1' if query['p'] == '1' else None)
            self.reply(200, {'outputs': [{'name': 'a', 'state': int(is_on())}, {'name': 'b', 'state': 1}]})

    def redfish(self, path, query, body):
        if not self.basic():
            return
        system = '/redfish/v1/Systems/1'
        action = f'{system}/Actions/ComputerSystem.Reset'
        if path == '/redfish/v1/Systems':
            return self.reply(200, {'Members': [{'@odata.id': system}]})
        if path == system:
            words = ['On', 'ForceOff', 'GracefulShutdown', 'PowerCycle']
            reset = {'target': action, 'ResetType@Redfish.AllowableValues': words}
            state = 'On' if is_on() else 'Off'
            return self.reply(200, {'PowerState': state, 'Actions': {'#ComputerSystem.Reset': reset}})
        if path == action and self.command == 'POST':
            on = {'On': True, 'ForceOff': False}.get(json.loads(body)['ResetType'])
            if on is None or on == is_on():
                return self.reply(409)
            self.done()
            threading.Timer(0.5, switch, (on,)).start()
            return self.reply(204)
        self.reply(404)


ANSWERS = [
    ('/relay/', Handler.shelly1), ('/rpc', Handler.shelly2), ('/cm', Handler.tasmota), ('/netio.json', Handler.netio),
    ('/restapi/', Handler.dli), ('/api/', Handler.home_assistant), ('/switch/', Handler.esphome),
    ('/ov.html', Handler.gude), ('/status.json', Handler.gude), ('/redfish/', Handler.redfish),
]
server = ThreadingHTTPServer(('127.0.0.1', PORT), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
