"""An app on Slack's own Bolt, over Socket Mode: what it understands of a Slack is said on standard output."""

import sys

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

api = sys.argv[1]
app = App(client=WebClient(token="xoxb-test", base_url=api))


def say(*words):
    print(*words, flush=True)


@app.command("/lab")
def lab(ack, command):
    ack(f"you typed {command['text']} in {command['channel_name']}")
    say("command", command["user_id"], command["text"])


@app.action("cancel")
def cancel(ack, body):
    ack()
    say("action", body["actions"][0]["value"], body["container"]["message_ts"])


@app.message_shortcut("rerun")
def rerun(ack, shortcut):
    ack()
    say("shortcut", shortcut["message_ts"], shortcut["message"]["text"])


@app.event("app_mention")
def mentioned(event):
    say("mention", event["text"])


@app.event("message")
def message(event):
    say("message", event["channel_type"], event["text"])


handler = SocketModeHandler(app, "xapp-test", ping_interval=1)
handler.connect()
say("connected")
for line in sys.stdin:
    say("still", handler.client.is_connected())
handler.close()
