// Package subjects is the vocabulary of thor's wire: the subjects, the
// messages that travel on them, their limits, and nothing else. It imports the
// standard library only, so that a program in Go that wants to speak thor
// without its SDK can.
//
// # The subject tree
//
//	subject                             published by        read by              payload         when
//	thor.role.<role>.<node>             that member         managers             Announcement    each beat and change
//	thor.role.<role>                    active manager      all nodes            RoleView        each change, and regularly
//	thor.status                         active manager      all nodes            Tick            every second
//	thor.status.delta                   active manager      all nodes            Delta           each change
//	thor.status.roles                   active manager      all nodes            RoleTick        before each Tick
//	thor.status.delta.<role>            active manager      all nodes            RoleDelta       each change of that role
//	thor.status.get                     all nodes           managers (queue)     SnapshotRequest on demand, answered by a snapshot
//	thor.manager.<manager>.status       managers            that manager         SnapshotRequest before it leads first, answered by a snapshot
//	thor.event                          active manager      monitors, operators  Event           each change and guard
//	thor.node.<node>.<role>.<verb>      operators           that member          per verb        on demand; only reads
//	thor.node.<node>.<role>.<verb>.<sender>
//	                                    operators           that member          per verb        on demand; changes something
//	thor.manager.<manager>.hears        managers            that manager         none, answered by a Hearing
//	thor.manager.<node>.announce        managers            all of that node    none            full announcements are wanted
//	thor.node.<node>.<role>.duplicate.<sender>
//	                                    managers            that member          none            two processes claim it
//	thor.node.<node>._.lookup           operators           node agents          LookupRequest   on demand, answered by a list of LookupResult
//	thor.node.<n>.thor_database.credentials.<role>.<node>
//	                                    that role and node  that locator         none            on demand
//	thor.node.<n>.provisioning_server.{subscriber,changes,trust}.<role>.<node>
//	                                    that role and node  that server          Request, ChangesRequest, TrustRequest *
//	thor.node.<n>.provisioning_server.records.thor_dnsmanager.<node>
//	                                    that name server    that server          Request of overlay/records, on demand
//	thor.node.<heir>._.profile.<role>.<node>
//	                                    that SIP proxy      that node agent      Request *        no provisioning server answers
//	thor.node.<node>._.subscriber.<sender>
//	                                    provisioning server that node agent      Notice *         a profile changed
//	thor.node.<node>._.handover.<sender>
//	                                    SIP proxies         that node agent      Handover *       the lookup changed
//	thor.node.<node>._.{statistics,locations}
//	                                    provisioning server that node agent      LocationsRequest * on demand
//	thor.node.<node>._.media            provisioning server that node agent      Request of overlay/media, on demand
//	thor.crl.<sender>, thor.crl.get     operators, brokers  all nodes            DER CRL         on revocation
//	thor.crl.get.<node>                 that node           brokers              ListRequest     at each connection
//	thor.sys.disconnect                 broker (system)     managers             NATS event      a client connection ended
//	thor.sys.revoked                    brokers             managers             Revoked         a certificate was revoked
//	thor.sys.cut                        brokers             managers             Cut             a client sent too much
//	thor.sys.identity.<broker>          that broker         managers             Identity        before a connection's first message
//	thor.sys.identity.get               managers            brokers              none            asks for all identities again
//	thor.sys.lease.manager              JetStream           managers             Lease           each write of the lease
//	thor.sys.closed.get                 managers            brokers              Link            the lease is not renewed
//	thor.sys.closed.<broker>            that broker         managers             Link            it was asked for, and has no such connection
//	thor.broker.<broker>                that broker         its clients          BrokerNotice    it is alone, or is no more
//	_ANSWER.<asker>.<answerer>.<token>  that answerer       that asker           Reply           the answer to a request
//	_INBOX.<node>.>                     members             that node            per client      answers to plain NATS clients
//	_JS.<node>.>                        JetStream           that manager, broker JetStream's     answers to its API
//
// Messages marked * are in package overlay/subscriber.
//
// thor.role.* is the manager's voice and thor.role.*.* the members': a broker
// decides by subject alone who may say what, and on a bare role subject it
// could not tell two nodes apart.
//
// # Rules of the vocabulary
//
// A [Role] or [NodeID] is a valid subject token once it has been parsed, and
// only these types go into subjects: no name can ever rewrite the tree.
// Receivers ignore fields they do not know, drop what breaks a limit with a
// [*BadMessage] that names the reason, and never act on a (epoch, generation)
// that is not newer than what they hold. Lower priority numbers are preferred:
// of two databases at priority 10 and 50, 10 is used.
package subjects
