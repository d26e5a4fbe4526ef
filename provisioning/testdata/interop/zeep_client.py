"""Typed calls through zeep, on every port of the one WSDL, without the internet.
Arguments: URL, CA file, user, password. Prints "ok" at the end."""
import json
import sys
import uuid

import requests
from zeep import Client
from zeep.exceptions import Fault
from zeep.transports import Transport

url, ca, user, password = sys.argv[1:]
session = requests.Session()
session.trust_env = False  # no proxies, no other authorities
session.verify = ca
client = Client(url + "/wsdl", transport=Transport(session=session))
auth = client.get_type("{urn:AGProjects:NGNPro}Auth")
ports = {p: client.bind("NGNPro", p + "Port") for p in ("Sip", "Voicemail", "Enum", "Customer", "Network")}
headers = {"auth": auth(username=user, password=password, admin=True)}


def call(port, op, *args):
    return getattr(ports[port], op)(*args, _soapheaders=headers)


def t(name, **kw):
    return client.get_type("{urn:AGProjects:NGNPro}" + name)(**kw)


def array(kind, items, item_type="{http://www.w3.org/2001/XMLSchema}string"):
    from zeep import xsd
    ty = client.get_type(item_type)
    return client.get_type("{urn:AGProjects:NGNPro}" + kind)([xsd.AnyObject(xsd.Element("item", ty), i) for i in items])


def fails(code, port, op, *args):
    try:
        call(port, op, *args)
    except Fault as f:
        have = f.detail.find("exception/errorcode").text
        assert have == str(code), (op, have, code)
    else:
        raise AssertionError(f"{op}: no fault {code}")


tag = uuid.uuid4().hex[:8]
domain = f"z{tag}.example.com"
call("Sip", "addDomain", t("SipDomain", domain=domain))
fails(1001, "Sip", "addDomain", t("SipDomain", domain=domain))
sip_id = t("SipId", username="bob", domain=domain)
made = call("Sip", "addAccount", t("SipAccount", id=sip_id, password="pw", firstName="Bøb", groups=array("StringArray", ["a", "b"]),
                                   timeout=20, prepaid=False))
assert made.username == "bob", made
account = call("Sip", "getAccount", sip_id)
assert account.firstName == "Bøb" and account.timeout == 20 and account.prepaid is False, account
account.lastName = "Zeep"
account.groups = array("StringArray", account.groups)  # zeep reads arrays as lists, and does not write lists as arrays
call("Sip", "updateAccount", account)
found = call("Sip", "getAccounts", t("SipQuery", filter={"domain": domain}, range={"start": 0, "count": 10}))
assert found.total == 1, found
fails(1010, "Sip", "getAccount", t("SipId", username="nobody", domain=domain))
fails(2000, "Voicemail", "getAccount", sip_id)
box = call("Voicemail", "addAccount", t("VoicemailAccount", sipId=sip_id, password="1234", options={"delete": True}))
assert box.mailbox, box
call("Sip", "setCallDiversions", sip_id, t("CallDiversions", FUNC=f"sip:x@{domain}"))
assert call("Sip", "getCallDiversions", sip_id).FUNC == f"sip:x@{domain}"
fails(3002, "Enum", "getNumber", t("EnumId", number="31201234567", tld="e164.arpa"))
fails(5000, "Customer", "getAccount", 99999999)
assert isinstance(json.loads(call("Network", "getStatus")), dict)
assert json.loads(call("Network", "getStatistics"))["summary"]["sip_proxy"]["total_accounts"][domain] == 1
call("Sip", "deleteAccount", sip_id)
call("Sip", "deleteDomain", domain)
print("ok")
