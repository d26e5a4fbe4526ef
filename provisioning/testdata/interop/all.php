<?php
// Every operation through ext-soap, a client for each port. Arguments: URL, CA
// file, user, password, how, and the domain of the network (default net.example).
// How is "typed" (WSDL mode, the header with the types' namespace, lists always as
// arrays), "plain" (WSDL mode without options, the header with a namespace that the
// WSDL does not know, so that PHP writes it as a map) or "untyped" (no WSDL: every
// associative array is a map, every parameter a number). Prints "ok N" at the end.
error_reporting(E_ALL);
set_error_handler(function ($no, $msg, $file, $line) { throw new ErrorException($msg, 0, $no, $file, $line); });
ini_set('soap.wsdl_cache_enabled', '0');
[, $url, $ca, $user, $password, $how, $z] = $argv + [6 => 'net.example'];
$clients = [];
function port($name, $user = null, $password = null, $impersonate = null, $admin = true) {
    global $url, $ca, $argv, $how;
    $options = ['stream_context' => stream_context_create(['ssl' => ['cafile' => $ca]])];
    if ($how === 'typed') $options += ['features' => SOAP_SINGLE_ELEMENT_ARRAYS, 'trace' => true];
    if ($how === 'untyped') $options += ['location' => "$url/", 'uri' => "urn:AGProjects:NGNPro:$name"];
    $c = new SoapClient($how === 'untyped' ? null : "$url/$name?wsdl", $options);
    $auth = ['username' => $user ?? $argv[3], 'password' => $password ?? $argv[4], 'admin' => $admin];
    if ($impersonate !== null) $auth['impersonate'] = $impersonate;
    $c->__setSoapHeaders(new SoapHeader('urn:AGProjects:NGNPro' . ($how === 'typed' ? '' : ":$name"), 'auth', $auth));
    return $c;
}
$done = [];
function same($what, $want, $have) {
    if ($want != $have) { fwrite(STDERR, "$what: want " . var_export($want, true) . ", have " . var_export($have, true) . "\n"); exit(1); }
}
function fails($code, $f) {
    try { $f(); } catch (SoapFault $e) {
        same('errorcode', $code, (int)$e->detail->exception->errorcode);
        if ($e->detail->exception->errorstring === '') exit(1);
        return;
    }
    fwrite(STDERR, "no fault $code\n"); exit(1);
}
// call does an operation and notes it, to compare with the list of the WSDL.
function call($c, $port, $op, ...$args) {
    global $done;
    $done["$port.$op"] = true;
    return $c->$op(...$args);
}
$cust = port('Customer'); $sip = port('Sip'); $vm = port('Voicemail'); $enum = port('Enum'); $dns = port('Dns'); $net = port('Network');

// customers
$tag = bin2hex(random_bytes(4));
$r = call($cust, 'Customer', 'addAccount', ['username' => "res$tag", 'password' => 'pw-1', 'firstName' => 'Ré', 'organization' => 'A & B <GmbH>', 'email' => 'r@example.com', 'resellerActive' => true]);
same('new reseller', $r->id, $r->reseller);
fails(5001, fn() => $cust->addAccount(['username' => "res$tag", 'password' => 'pw-1']));
$c1 = call($cust, 'Customer', 'addAccount', ['username' => "cus$tag", 'password' => 'pw-2', 'reseller' => $r->id]);
$r->firstName = 'Rex';
call($cust, 'Customer', 'updateAccount', $r);
same('firstName', 'Rex', call($cust, 'Customer', 'getAccount', $r->id)->firstName);
same('organization', 'A & B <GmbH>', $cust->getAccount($r->id)->organization);
fails(5000, fn() => $cust->getAccount(987654));
$l = call($cust, 'Customer', 'getResellers', ['filter' => ['username' => "res$tag"]]);
same('resellers', 1, $l->total);
same('reseller', $r->id, $l->accounts[0]->id);
$l = call($cust, 'Customer', 'getCustomers', ['filter' => ['username' => "cus$tag"], 'range' => ['start' => 0, 'count' => 20]]);
same('customers', 1, count($l->accounts));
call($cust, 'Customer', 'setProperties', $c1->id, [['name' => 'sip_credit', 'category' => 'credit', 'value' => '10', 'permission' => 'admin']]);
$ps = call($cust, 'Customer', 'getProperties', $c1->id);
same('property', '10', array_column($ps, 'value', 'name')['sip_credit']);

// domains
$d = "d$tag.example.com";
call($sip, 'Sip', 'addDomain', ['domain' => $d, 'customer' => $c1->id, 'reseller' => $r->id]);
fails(1001, fn() => $sip->addDomain(['domain' => strtoupper($d)]));
call($sip, 'Sip', 'updateDomain', ['domain' => $d, 'customer' => $c1->id, 'reseller' => $r->id, 'verify_cert' => true]);
$l = call($sip, 'Sip', 'getDomains', ['filter' => ['domain' => $d], 'orderBy' => ['attribute' => 'changeDate', 'direction' => 'DESC'], 'range' => ['start' => 0, 'count' => 20]]);
same('domains', 1, $l->total);
same('domain', $d, $l->domains[0]->domain);
same('domain customer', $c1->id, $l->domains[0]->customer);

// accounts
$id = ['username' => 'alice', 'domain' => $d];
$made = call($sip, 'Sip', 'addAccount', ['id' => $id, 'password' => 'secret', 'firstName' => 'Alïce 中', 'lastName' => '<&>', 'email' => "a@$d",
    'timezone' => 'Europe/Amsterdam', 'groups' => ['free-pstn', 'voicemail'], 'acl' => [['ip' => '10.0.0.0', 'mask' => 8]],
    'properties' => [['name' => 'a', 'value' => '1'], ['name' => 'b', 'value' => "x\ny"]], 'prepaid' => true, 'quota' => 5, 'timeout' => 30]);
same('made', 'alice', $made->username);
fails(1011, fn() => $sip->addAccount(['id' => $id, 'password' => 'x']));
$auto = $sip->addAccount(['id' => ['username' => '<autoincrement>', 'domain' => $d], 'password' => 'x']);
same('autoincrement', true, ctype_digit($auto->username));
$a = call($sip, 'Sip', 'getAccount', $id);
same('firstName', 'Alïce 中', $a->firstName);
same('lastName', '<&>', $a->lastName);
same('groups', ['free-pstn', 'voicemail'], $a->groups);
same('mask', 8, $a->acl[0]->mask);
same('property', "x\ny", $a->properties[1]->value);
same('prepaid', true, (bool)$a->prepaid);
same('timeout', 30, $a->timeout);
$a->lastName = 'B'; $a->groups = []; unset($a->password);
call($sip, 'Sip', 'updateAccount', $a); // sends back all it was given
$a = $sip->getAccount($id);
same('lastName', 'B', $a->lastName);
same('no groups', [], $a->groups);
fails(1010, fn() => $sip->getAccount(['username' => 'nobody', 'domain' => $d]));
fails(3, fn() => $sip->updateAccount(['id' => $id, 'timeout' => 901]));
fails(3, fn() => $sip->updateAccount(['id' => $id, 'email' => 'not an address']));
fails(1010, fn() => $sip->updateAccount(['id' => ['username' => 'nobody', 'domain' => $d], 'email' => 'not an address']));
$l = call($sip, 'Sip', 'getAccounts', ['filter' => ['username' => 'ali%', 'domain' => $d, 'owner' => 0, 'groups' => ['']], 'orderBy' => ['attribute' => 'username', 'direction' => 'ASC'], 'range' => ['start' => 0, 'count' => 20]]);
same('accounts', 1, $l->total);
same('account', 'alice', $l->accounts[0]->id->username);
call($sip, 'Sip', 'addToGroup', $id, 'blocked');
fails(1030, fn() => $sip->addToGroup($id, 'blocked'));
same('groups', ['blocked'], call($sip, 'Sip', 'getGroups', $id));
call($sip, 'Sip', 'removeFromGroup', $id, 'blocked');
fails(1031, fn() => $sip->removeFromGroup($id, 'blocked'));

// aliases; one object twice makes ext-soap send a reference
$target = new stdClass; $target->username = 'alice'; $target->domain = $d;
call($sip, 'Sip', 'addAlias', ['id' => ['username' => '9001', 'domain' => $d], 'target' => $target, 'owner' => 7]);
fails(1021, fn() => $sip->addAlias(['id' => ['username' => '9001', 'domain' => $d], 'target' => $target]));
call($sip, 'Sip', 'updateAlias', ['id' => ['username' => '9001', 'domain' => $d], 'target' => $target, 'owner' => 8]);
same('alias', 'alice', call($sip, 'Sip', 'getAlias', ['username' => '9001', 'domain' => $d])->target->username);
same('aliases', 1, call($sip, 'Sip', 'getAliases', ['filter' => ['targetUsername' => 'alice', 'targetDomain' => $d]])->total);
same('locations', 2, count(call($sip, 'Sip', 'getSipDeviceLocations', [$target, $target])));
if ($how === 'typed') same('reference sent', true, str_contains($sip->__getLastRequest(), 'href="#'));
call($sip, 'Sip', 'deleteAlias', ['username' => '9001', 'domain' => $d]);
fails(1020, fn() => $sip->getAlias(['username' => '9001', 'domain' => $d]));

// screening
call($sip, 'Sip', 'setCallDiversions', $id, ['FUNC' => "sip:bob@$d", 'FBUS' => '<voice-mailbox>']);
$v = call($sip, 'Sip', 'getCallDiversions', $id);
same('FUNC', "sip:bob@$d", $v->FUNC);
same('FBUS', '<voice-mailbox>', $v->FBUS);
same('FNOA', null, $v->FNOA);
call($sip, 'Sip', 'setBarringPrefixes', $id, ['+31900', '00']);
same('prefixes', ['+31900', '00'], call($sip, 'Sip', 'getBarringPrefixes', $id));
call($sip, 'Sip', 'setRejectMembers', $id, ["sip:spam@$d"]);
same('members', ["sip:spam@$d"], call($sip, 'Sip', 'getRejectMembers', $id));
$sip->setRejectMembers($id, []);
same('no members', [], $sip->getRejectMembers($id));
call($sip, 'Sip', 'setAcceptRules', $id, ['persistent' => [['start' => '08:00', 'stop' => '17:30', 'groups' => ['everybody'], 'days' => 31]], 'temporary' => ['groups' => ['nobody'], 'duration' => 60]]);
$v = call($sip, 'Sip', 'getAcceptRules', $id);
same('stop', '17:30', $v->rules->persistent[0]->stop);
same('nobody', ['nobody'], $v->rules->temporary->groups);
same('array', true, is_array($v->nonEmptyGroups));
call($sip, 'Sip', 'addPhonebookEntry', $id, ['uri' => "sip:carol@$d", 'name' => 'Carol', 'group' => 'family']);
call($sip, 'Sip', 'updatePhonebookEntry', $id, ['uri' => "sip:carol@$d", 'name' => 'Caro', 'group' => 'family']);
$v = call($sip, 'Sip', 'getPhonebookEntries', $id, ['uri' => '', 'name' => '', 'group' => 'family'], ['start' => 0, 'count' => 100]);
same('entry', 'Caro', $v->entries[0]->name);
call($sip, 'Sip', 'deletePhonebookEntry', $id, "sip:carol@$d");
fails(1050, fn() => $sip->deletePhonebookEntry($id, "sip:carol@$d"));

// trusted peers
$ip = '2001:db8::' . substr($tag, 0, 4);
call($sip, 'Sip', 'addTrustedPeer', ['ip' => $ip, 'description' => 'carrier', 'callLimit' => 30, 'msteams' => false, 'customer' => $c1->id, 'reseller' => $r->id]);
call($sip, 'Sip', 'updateTrustedPeer', ['ip' => $ip, 'description' => 'carrier 2', 'blocked' => true]);
$l = call($sip, 'Sip', 'getTrustedPeers', ['filter' => ['ip' => $ip, 'msteams' => false, 'blocked' => false]]);
same('peer', 'carrier 2', $l->peers[0]->description);
call($sip, 'Sip', 'deleteTrustedPeer', $ip);
fails(1040, fn() => $sip->deleteTrustedPeer($ip));

// media
same('media', [[], []], [json_decode(call($sip, 'Sip', 'getMediaSummary')), json_decode(call($sip, 'Sip', 'getMediaSessions'))]);
fails(1060, fn() => call($sip, 'Sip', 'getMediaTrace', ['nodeIp' => '192.0.2.1', 'callId' => 'none', 'fromTag' => 'a', 'toTag' => 'b']));
$mine = port('Sip', "cus$tag", 'pw-2', null, false);
fails(2, fn() => $mine->getMediaSessions());

// voicemail
fails(2000, fn() => $vm->getAccount($id));
$v = call($vm, 'Voicemail', 'addAccount', ['sipId' => $id, 'name' => 'Alice', 'password' => '1234', 'email' => "a@$d", 'options' => ['delete' => 1]]);
same('mailbox', true, $v->mailbox !== '');
call($vm, 'Voicemail', 'updateAccount', ['sipId' => $id, 'name' => 'Alice', 'email' => "b@$d", 'options' => ['delete' => false]]);
$v = call($vm, 'Voicemail', 'getAccount', $id);
same('email', "b@$d", $v->email);
same('delete', false, $v->options->delete);
$sound = random_bytes(30000);
call($vm, 'Voicemail', 'setAnnouncement', $id, $how === 'untyped' ? new SoapVar($sound, XSD_BASE64BINARY) : $sound);
call($vm, 'Voicemail', 'deleteAccount', $id);

// ENUM
$p = (string)random_int(1000000, 9999999);
call($enum, 'Enum', 'addRange', ['id' => ['prefix' => $p, 'tld' => 'e164.arpa'], 'ttl' => 3600, 'minDigits' => 11, 'maxDigits' => 11, 'size' => 10, 'nameservers' => ['ns1.example.com'], 'info' => 'x', 'customer' => $c1->id, 'reseller' => $r->id]);
fails(3001, fn() => $enum->addRange(['id' => ['prefix' => $p]]));
call($enum, 'Enum', 'updateRange', ['id' => ['prefix' => $p, 'tld' => 'e164.arpa'], 'info' => 'y']);
same('info', 'y', call($enum, 'Enum', 'getRanges', ['filter' => ['prefix' => $p]])->ranges[0]->info);
$n = ['number' => $p . '1234', 'tld' => 'e164.arpa'];
call($enum, 'Enum', 'addNumber', ['id' => $n, 'mappings' => [['type' => 'sip', 'mapto' => "sip:alice@$d", 'priority' => 5, 'ttl' => 3600]]]);
call($enum, 'Enum', 'updateNumber', ['id' => $n, 'mappings' => [['type' => 'sip', 'mapto' => "sip:bob@$d"], ['type' => 'mailto', 'mapto' => "mailto:a@$d"]]]);
same('mappings', 2, count(call($enum, 'Enum', 'getNumber', $n)->mappings));
same('numbers', 1, call($enum, 'Enum', 'getNumbers', ['filter' => ['number' => $p . '%']])->total);
call($enum, 'Enum', 'deleteNumber', $n);
fails(3002, fn() => $enum->getNumber($n));
call($enum, 'Enum', 'deleteRange', ['prefix' => $p, 'tld' => 'e164.arpa']);

// DNS: the network's own zone
fails(3, fn() => $dns->addZone(['name' => "other$z", 'reseller' => $r->id]));
call($dns, 'Dns', 'addZone', ['name' => $z, 'reseller' => $r->id, 'info' => 'x', 'ttl' => 3600, 'nameservers' => ['ns1.example.com']]);
fails(7001, fn() => $dns->addZone(['name' => strtoupper($z)]));
call($dns, 'Dns', 'updateZone', ['name' => $z, 'info' => 'the network\'s']);
$l = call($dns, 'Dns', 'getZones', ['filter' => ['name' => '', 'info' => 'the%', 'customer' => 0, 'reseller' => $r->id], 'orderBy' => ['attribute' => 'changeDate', 'direction' => 'DESC'], 'range' => ['start' => 0, 'count' => 20]]);
same('zones', [1, $z], [$l->total, $l->zones[0]->name]);
$v = call($dns, 'Dns', 'getZone', $z);
same('zone', ["the network's", $r->id, "hostmaster@$z", 2], [$v->info, $v->reseller, $v->email, count($v->nameservers)]);
fails(7000, fn() => $dns->getZone("other$z"));
$made = call($dns, 'Dns', 'addRecord', ['name' => '', 'zone' => $z, 'type' => 'MX', 'value' => 'mail', 'owner' => 0, 'ttl' => 600, 'priority' => 10]);
fails(7003, fn() => $dns->addRecord(['name' => '@', 'zone' => $z, 'type' => 'mx', 'value' => 'mail', 'ttl' => 60, 'priority' => 10]));
fails(3, fn() => $dns->addRecord(['name' => 'proxy', 'zone' => $z, 'type' => 'A', 'value' => '192.0.2.1']));
fails(7000, fn() => $dns->addRecord(['name' => 'www', 'zone' => "other$z", 'type' => 'A', 'value' => '192.0.2.1']));
$w = $dns->addRecord(['name' => '_stun._udp', 'zone' => $z, 'type' => 'SRV', 'value' => '10 3478 stun', 'priority' => 1]);
$rec = call($dns, 'Dns', 'getRecord', $made);
same('record', [$z, 'MX', 'mail', 10, 600], [$rec->name, $rec->type, $rec->value, $rec->priority, $rec->ttl]);
$rec->ttl = 60; $rec->value = 'mx.example.org';
call($dns, 'Dns', 'updateRecord', $rec); // sends back all it was given
$l = call($dns, 'Dns', 'getRecords', ['filter' => ['id' => 0, 'zone' => $z, 'name' => '', 'type' => 'MX', 'value' => 'mx.%', 'owner' => 0, 'customer' => 0, 'reseller' => 0], 'orderBy' => ['attribute' => 'name', 'direction' => 'ASC'], 'range' => ['start' => 0, 'count' => 20]]);
same('records', [1, 60, $made], [$l->total, $l->records[0]->ttl, $l->records[0]->id]);
fails(7004, fn() => $dns->deleteZone($z));
same('reseller\'s records', 2, port('Dns', "res$tag", 'pw-1', null, false)->getRecords(['filter' => []])->total);
fails(7002, fn() => port('Dns', "cus$tag", 'pw-2', null, false)->deleteRecord($made));
call($dns, 'Dns', 'deleteRecord', $made);
$dns->deleteRecord($w);
fails(7002, fn() => $dns->getRecord($made));
call($dns, 'Dns', 'deleteZone', $z);

// network
same('status', true, is_array(json_decode(call($net, 'Network', 'getStatus'), true)));
$v = json_decode(call($net, 'Network', 'getStatistics'), true);
same('total', 2, $v['summary']['sip_proxy']['total_accounts'][$d]);

// views of others
$mine = port('Sip', "cus$tag", 'pw-2', null, false);
same('own domains', 1, $mine->getDomains(['filter' => []])->total);
$as = port('Sip', null, null, $c1->id);
same('impersonated domains', 1, $as->getDomains(['filter' => []])->total);
fails(1, fn() => port('Sip', "cus$tag", 'wrong', null, false)->getDomains(['filter' => []]));

// all gone
call($sip, 'Sip', 'deleteAccount', $id);
$sip->deleteAccount($auto);
fails(1010, fn() => $sip->getAccount($id));
call($sip, 'Sip', 'deleteDomain', $d);
fails(1000, fn() => $sip->deleteDomain($d));
call($cust, 'Customer', 'deleteAccount', $c1->id);
$cust->deleteAccount($r->id);

$missing = [];
if ($how !== 'untyped') foreach (['Customer' => $cust, 'Sip' => $sip, 'Voicemail' => $vm, 'Enum' => $enum, 'Dns' => $dns, 'Network' => $net] as $name => $c)
    foreach ($c->__getFunctions() as $f) {
        preg_match('/ (\w+)\(/', $f, $m);
        if (!isset($done["$name.$m[1]"])) $missing[] = "$name.$m[1]";
    }
same('operations not called', [], $missing);
echo 'ok ', count($done), "\n";
