"""Every operation through zeep as its manual has it: plain dictionaries and
lists by name, what was read is sent back. Arguments: URL, CA file, user,
password, and how the header is given: "dict", with a WSDL for each port, or
"element", with the one WSDL. Prints "ok N"."""
import json
import sys
import uuid

import requests
from zeep import Client, xsd
from zeep.exceptions import Fault
from zeep.transports import Transport

url, ca, user, password, how = sys.argv[1:]
session = requests.Session()
session.trust_env = False  # no proxies, no other authorities
session.verify = ca
NS = "{urn:AGProjects:NGNPro}"
login = {"username": user, "password": password, "admin": True}
names = ("Customer", "Sip", "Voicemail", "Enum", "Dns", "Network")


def connect(address):
    return Client(url + address, transport=Transport(session=session))


if how == "dict":
    clients = {p: connect(f"/{p}?wsdl") for p in names}
    services = {p: c.service for p, c in clients.items()}
    headers = {"auth": login}
else:
    whole = connect("/wsdl")
    clients = dict.fromkeys(names, whole)
    services = {p: whole.bind("NGNPro", p + "Port") for p in names}
    headers = [whole.get_element(NS + "auth")(**login)]
done = set()


def call(op, **parameters):
    port, name = op.split(".")
    r = getattr(services[port], name)(**parameters, _soapheaders=headers)
    done.add(op)
    return r


def fails(code, op, **parameters):
    try:
        call(op, **parameters)
    except Fault as f:
        have = f.detail.find("exception/errorcode").text
        assert have == str(code), (op, have, code)
    else:
        raise AssertionError(f"{op}: no fault {code}")


def same(what, want, have):
    assert want == have, f"{what}: want {want!r}, have {have!r}"


tag = uuid.uuid4().hex[:8]

# customers
reseller = call("Customer.addAccount", account={"username": "res" + tag, "password": "pw-1", "firstName": "Ré", "resellerActive": True})
same("new reseller", reseller.id, reseller.reseller)
fails(5001, "Customer.addAccount", account={"username": "res" + tag, "password": "pw-1"})
customer = call("Customer.addAccount", account={"username": "cus" + tag, "password": "pw-2", "reseller": reseller.id})
reseller.firstName = "Rex"
call("Customer.updateAccount", account=reseller)  # with its empty list of properties
same("firstName", "Rex", call("Customer.getAccount", id=reseller.id).firstName)
fails(5000, "Customer.getAccount", id=99999999)
same("resellers", [reseller.id], [a.id for a in call("Customer.getResellers", query={"filter": {"username": "res" + tag}}).accounts])
same("customers", 1, call("Customer.getCustomers", query={"filter": {"username": "cus" + tag}, "range": {"start": 0, "count": 20}}).total)
call("Customer.setProperties", customer=customer.id, properties=[{"name": "sip_credit", "category": "credit", "value": "10", "permission": "admin"}])
same("properties", ["10"], [p.value for p in call("Customer.getProperties", customer=customer.id)])

# domains
domain = f"z{tag}.example.com"
call("Sip.addDomain", domain={"domain": domain, "customer": customer.id, "reseller": reseller.id})
fails(1001, "Sip.addDomain", domain={"domain": domain})
call("Sip.updateDomain", domain={"domain": domain, "customer": customer.id, "reseller": reseller.id, "verify_cert": True})
found = call("Sip.getDomains", query={"filter": {"domain": domain}, "orderBy": {"attribute": "domain", "direction": "ASC"}, "range": {"start": 0, "count": 20}})
same("domains", [domain], [d.domain for d in found.domains])

# accounts
bob = {"username": "bob", "domain": domain}
made = call("Sip.addAccount", account={
    "id": bob, "password": "pw", "firstName": "Bøb", "groups": ["b", "free-pstn"], "acl": [{"ip": "10.0.0.0", "mask": 8}],
    "properties": [{"name": "x", "value": "y"}], "timeout": 20, "prepaid": False})
same("made", "bob", made.username)
account = call("Sip.getAccount", sipId=bob)
same("account", ("Bøb", 20, False), (account.firstName, account.timeout, account.prepaid))
same("lists", (["b", "free-pstn"], [8], ["y"]), (account.groups, [a.mask for a in account.acl], [p.value for p in account.properties]))
account.lastName = "Zeep"
call("Sip.updateAccount", account=account)
account = call("Sip.getAccount", sipId=bob)
same("lists sent back", (["b", "free-pstn"], [8], ["y"]), (account.groups, [a.mask for a in account.acl], [p.value for p in account.properties]))
same("lastName", "Zeep", account.lastName)
call("Sip.updateAccount", account={"id": bob, "groups": [], "acl": [], "properties": []})
account = call("Sip.getAccount", sipId=bob)
same("lists cleared", ([], [], []), (account.groups, account.acl, account.properties))
same("the rest", "Zeep", account.lastName)
fails(1010, "Sip.getAccount", sipId={"username": "nobody", "domain": domain})
fails(1010, "Sip.updateAccount", account={"id": {"username": "nobody", "domain": domain}, "email": "not an address"})
found = call("Sip.getAccounts", query={"filter": {"domain": domain, "groups": [""]}, "range": {"start": 0, "count": 10}})
same("accounts", ["bob"], [a.id.username for a in found.accounts])
call("Sip.addToGroup", sipId=bob, group="blocked")
same("groups", True, "blocked" in call("Sip.getGroups", sipId=bob))
call("Sip.removeFromGroup", sipId=bob, group="blocked")
fails(1031, "Sip.removeFromGroup", sipId=bob, group="blocked")

# aliases
alias = {"id": {"username": "9001", "domain": domain}, "target": bob, "owner": 7}
call("Sip.addAlias", alias=alias)
call("Sip.updateAlias", alias={**alias, "owner": 8})
same("alias", ("bob", 8), (lambda a: (a.target.username, a.owner))(call("Sip.getAlias", id=alias["id"])))
same("aliases", 1, call("Sip.getAliases", query={"filter": {"targetUsername": "bob", "targetDomain": domain}}).total)
call("Sip.deleteAlias", id=alias["id"])

# screening
call("Sip.setCallDiversions", sipId=bob, diversions={"FUNC": f"sip:x@{domain}", "FBUS": "<voice-mailbox>"})
same("FUNC", f"sip:x@{domain}", call("Sip.getCallDiversions", sipId=bob).FUNC)
call("Sip.setBarringPrefixes", sipId=bob, prefixes=["+31900", "00"])
same("prefixes", ["+31900", "00"], call("Sip.getBarringPrefixes", sipId=bob))
call("Sip.setBarringPrefixes", sipId=bob, prefixes=[])
same("no prefixes", [], call("Sip.getBarringPrefixes", sipId=bob))
# zeep leaves a bare list out, without a word, where it is given by position, and in
# a dictionary that is itself in a list. There the items have a name.
for prefixes in {"item": ["+31"]}, {"_value_1": [xsd.AnyObject(xsd.Element("item", xsd.String()), "+31")]}:
    services["Sip"].setBarringPrefixes(bob, prefixes, _soapheaders=headers)
    same("prefixes by position", ["+31"], call("Sip.getBarringPrefixes", sipId=bob))
call("Sip.setRejectMembers", sipId=bob, members=[f"sip:spam@{domain}"])
same("members", [f"sip:spam@{domain}"], call("Sip.getRejectMembers", sipId=bob))
call("Sip.setAcceptRules", sipId=bob, rules={
    "persistent": [{"start": "08:00", "stop": "17:30", "groups": {"item": ["everybody"]}, "days": 31}],
    "temporary": {"groups": ["nobody"], "duration": 60}})
rules = call("Sip.getAcceptRules", sipId=bob).rules
same("rules", (["17:30"], ["everybody"], ["nobody"]), ([r.stop for r in rules.persistent], rules.persistent[0].groups, rules.temporary.groups))
entry = {"uri": f"sip:carol@{domain}", "name": "Carol", "group": "family"}
call("Sip.addPhonebookEntry", sipId=bob, entry=entry)
call("Sip.updatePhonebookEntry", sipId=bob, entry={**entry, "name": "Caro"})
same("entries", ["Caro"], [e.name for e in call("Sip.getPhonebookEntries", sipId=bob, match={"group": "family"}, range={"start": 0, "count": 9})])
call("Sip.deletePhonebookEntry", sipId=bob, uri=entry["uri"])
same("locations", 1, len(call("Sip.getSipDeviceLocations", sipIds=[bob])))

# trusted peers
ip = "2001:db8::" + tag[:4]
call("Sip.addTrustedPeer", peer={"ip": ip, "description": "carrier", "customer": customer.id, "reseller": reseller.id})
call("Sip.updateTrustedPeer", peer={"ip": ip, "description": "carrier 2", "blocked": True})
same("peer", ["carrier 2"], [p.description for p in call("Sip.getTrustedPeers", query={"filter": {"ip": ip}}).peers])
call("Sip.deleteTrustedPeer", ip=ip)

# media
same("media", [[], []], [json.loads(call("Sip.getMediaSummary")), json.loads(call("Sip.getMediaSessions"))])
fails(1060, "Sip.getMediaTrace", filter={"nodeIp": "192.0.2.1", "callId": "none", "fromTag": "a", "toTag": "b"})
done.add("Sip.getMediaTrace")

# voicemail
fails(2000, "Voicemail.getAccount", sipId=bob)
box = call("Voicemail.addAccount", account={"sipId": bob, "name": "Bob", "password": "1234", "options": {"delete": True}})
assert box.mailbox, box
call("Voicemail.updateAccount", account={"sipId": bob, "email": f"b@{domain}", "options": {"delete": False}})
same("delete", False, call("Voicemail.getAccount", sipId=bob).options["delete"])
call("Voicemail.setAnnouncement", sipId=bob, message=b"RIFF" * 1000)
call("Voicemail.deleteAccount", sipId=bob)

# ENUM
prefix = str(10**6 + uuid.uuid4().int % 9 * 10**6 + uuid.uuid4().int % 10**6)
call("Enum.addRange", range={"id": {"prefix": prefix, "tld": "e164.arpa"}, "minDigits": 11, "maxDigits": 11, "size": 10, "nameservers": ["ns1.example.com"]})
call("Enum.updateRange", range={"id": {"prefix": prefix, "tld": "e164.arpa"}, "info": "y"})
found = call("Enum.getRanges", query={"filter": {"prefix": prefix}})
same("ranges", [("y", ["ns1.example.com"])], [(r.info, r.nameservers) for r in found.ranges])
number = {"number": prefix + "1234", "tld": "e164.arpa"}
fails(3002, "Enum.getNumber", enumId=number)
call("Enum.addNumber", number={"id": number, "mappings": [{"type": "sip", "mapto": f"sip:bob@{domain}"}]})
stored = call("Enum.getNumber", enumId=number)
same("mappings", [f"sip:bob@{domain}"], [m.mapto for m in stored.mappings])
call("Enum.updateNumber", number=stored)
same("mappings sent back", 1, len(call("Enum.getNumber", enumId=number).mappings))
same("numbers", 1, call("Enum.getNumbers", query={"filter": {"number": prefix + "%"}}).total)
call("Enum.deleteNumber", enumId=number)
call("Enum.deleteRange", range={"prefix": prefix, "tld": "e164.arpa"})

# DNS: the network's own zone
zone = "net.example"
fails(3, "Dns.addZone", zone={"name": "other" + zone})
call("Dns.addZone", zone={"name": zone, "reseller": reseller.id})
stored = call("Dns.getZone", zone=zone)
same("zone", (7, ["ns1.net.example", "ns2.net.example"]), (stored.serial, stored.nameservers))
stored.info = "the network's"
call("Dns.updateZone", zone=stored)  # sends back all it was given
same("zones", [("the network's", reseller.id)], [(z.info, z.reseller) for z in call("Dns.getZones", query={"filter": {"name": "net.%"}}).zones])
fails(3, "Dns.addRecord", record={"name": "proxy", "zone": zone, "type": "CNAME", "value": "elsewhere.example.org"})
made = call("Dns.addRecord", record={"name": "www", "zone": zone, "type": "A", "value": "192.0.2.1"})
fails(7003, "Dns.addRecord", record={"name": "www", "zone": zone, "type": "A", "value": "192.0.2.1"})
stored = call("Dns.getRecord", recordId=made)
same("record", ("www.net.example", 3600), (stored.name, stored.ttl))
stored.value = "192.0.2.2"
call("Dns.updateRecord", record=stored)
found = call("Dns.getRecords", query={"filter": {"zone": zone, "type": "A"}})
same("records", (1, ["192.0.2.2"]), (found.total, [r.value for r in found.records]))
call("Dns.deleteRecord", recordId=made)
fails(7002, "Dns.getRecord", recordId=made)
call("Dns.deleteZone", zone=zone)

# network
assert isinstance(json.loads(call("Network.getStatus")), dict)
same("total", 1, json.loads(call("Network.getStatistics"))["summary"]["sip_proxy"]["total_accounts"][domain])

# all gone
call("Sip.deleteAccount", sipId=bob)
call("Sip.deleteDomain", domain=domain)
call("Customer.deleteAccount", id=customer.id)
call("Customer.deleteAccount", id=reseller.id)

for port, service in services.items():
    for name in service._binding._operations:
        assert f"{port}.{name}" in done, f"{port}.{name} was not called"
print("ok", len(done))
