---@meta wgtwo.core
-- The C module as Lua sees it, for the Lua language server and for readers. Nothing loads this file.
--
-- An operation becomes ready when it has news; `core.poll` tells. `take` never blocks: false while nothing is there.
-- `close` may be called any number of times, and is also the collector's and a to-be-closed variable's.
-- luacheck: ignore 212 241

local core = {}

---@class wgtwo.op
local op = {}
---Ends the operation, cancelling what is under way.
function op:close() end

-- Waiting (poll.c, loop.c) ------------------------------------------------------------------------------------------

---Puts the operations that have news into list[1..n]; may return 0 early. Raises "interrupted!" after Ctrl-C.
---@param timeout number? seconds to wait at most; nil: for ever, 0: not at all
---@param list wgtwo.op[]
---@return integer n
function core.poll(timeout, list) end

---The epoll descriptor to watch instead of polling.
---@return integer fd
function core.pollfd() end

---Makes the next poll return at once, and the descriptor readable until then.
function core.wake() end

---@return number seconds on a clock that only goes forward
function core.now() end

---@return number seconds since 1970
function core.time() end

---The bytes of a message in parts: a string stands for itself, an integer for its varint.
---@param ... string|integer
---@return string
function core.join(...) end

---C objects that are not freed yet, in the whole process.
---@return integer count
---@return table<string, integer> by_kind
function core.live() end

-- Channels and calls (channel.c, call.c, acker.c) -------------------------------------------------------------------

---@alias wgtwo.metadata_list { [1]: string, [2]: string }[]

---@class wgtwo.channel: wgtwo.op
local channel = {}

---@class wgtwo.channel_options
---@field target string "host:port"
---@field plaintext? boolean
---@field roots? string PEM; default: the system's
---@field cert? string PEM
---@field key? string PEM
---@field server_name? string
---@field insecure_skip_verify? boolean
---@field args? table<string, integer|string> gRPC channel arguments; integers of 32 bits

---@param options wgtwo.channel_options
---@return wgtwo.channel?
---@return string? reason
function core.channel(options) end

---@param connect boolean? leave IDLE
---@return "IDLE"|"CONNECTING"|"READY"|"TRANSIENT_FAILURE"|"SHUTDOWN"
function channel:state(connect) end

---@class wgtwo.call_options
---@field path string "/pkg.Service/Method"
---@field kind "unary"|"server"|"client"|"bidi"
---@field request? string bytes, for unary and server
---@field reply wgtwo.type
---@field part? string of each reply of a stream only this submessage, empty when it is absent
---@field class? table the metatable of a stream's replies, instead of that of all messages; see `delegate`
---@field metadata? wgtwo.metadata_list
---@field timeout? number seconds
---@field wait_for_ready? boolean
---@field track? boolean tell in the status whether the request reached the transport

---@class wgtwo.status
---@field code integer
---@field message string
---@field metadata wgtwo.metadata_list trailing
---@field headers? wgtwo.metadata_list initial
---@field error? string the transport's own words
---@field peer? string
---@field sent? boolean with track

---@class wgtwo.call: wgtwo.op
local call = {}

---@param through wgtwo.channel
---@param options wgtwo.call_options
---@return wgtwo.call
function core.call(through, options) end

---The next reply; false: nothing yet; nil: all taken, and the status is there; nil, "decode", text: an unreadable one.
---@param owner? any what a reply with a class keeps; see `owner`
---@return wgtwo.message|false|nil
---@return string? problem
---@return string? text
function call:take(owner) end

---@return wgtwo.status? status nil while the call runs
function call:status() end

---@return wgtwo.metadata_list? headers nil while they are not there
function call:headers() end

---@param bytes string
---@return boolean? started false: one is under way; nil: the call is over
function call:write(bytes) end

---@return boolean writable whether a write would start now
function call:writable() end

---Half-closes.
---@return boolean? started false: a write is under way; nil: the call is over
function call:finish() end

function call:cancel() end

---@class wgtwo.acker: wgtwo.op
local acker = {}

---@class wgtwo.acker_options
---@field path string
---@field reply wgtwo.type
---@field expected string the bytes of a reply that means success
---@field timeout number seconds of one attempt
---@field limit integer calls in flight
---@field queue? integer calls that may wait for a place in flight

---Small unary calls, pipelined: those that succeed are only counted.
---@param through wgtwo.channel
---@param options wgtwo.acker_options
---@return wgtwo.acker
function core.acker(through, options) end

---For the calls that start from now on; ends a pause.
---@param list? wgtwo.metadata_list
function acker:metadata(list) end

---What is sent waits until there is metadata.
function acker:pause() end

---Starts what is queued, as far as there are places; to be called when there is news.
function acker:start() end

---@param bytes string
---@param attempt integer
---@param started number
---@param notify boolean tell of success too
---@return boolean sent false: there is no room, and the acker becomes ready when there is
function acker:send(bytes, attempt, started, notify) end

---Takes back the oldest that was not started, and pauses.
---@return {request: string, attempt: integer, started: number, notify: boolean}|false
function acker:unsend() end

---@class wgtwo.ack_result
---@field request string
---@field attempt integer
---@field started number
---@field ok boolean
---@field code? integer
---@field message? string
---@field metadata? wgtwo.metadata_list
---@field reply? wgtwo.message

---@return wgtwo.ack_result|false
function acker:take() end

---@return integer open queued or in flight
---@return integer succeeded
function acker:counts() end

---@return integer
function acker:queued() end

-- Schema and messages (schema.c, message.c, encode.c, json.c) -------------------------------------------------------

---A message type; tostring gives its name.
---@class wgtwo.type: userdata

---A message; its fields are read by indexing.
---@class wgtwo.message: userdata
---@field [string] any

---@class wgtwo.core_schema: userdata
local schema = {}

---@class wgtwo.core_method
---@field name string "pkg.Service/Method"
---@field service string
---@field input wgtwo.type
---@field output wgtwo.type
---@field client_streaming boolean
---@field server_streaming boolean
---@field scope? string
---@field status? string
---@field http? string
---@field file string

---From the bytes of a FileDescriptorSet.
---@param bytes string
---@return wgtwo.core_schema?
---@return string? reason
function core.schema(bytes) end

---@param name string
---@return wgtwo.type?
function schema:type(name) end

---@return string[]
function schema:types() end

---@return string[]
function schema:enums() end

---@return wgtwo.core_method[]
function schema:methods() end

---@param name string of a message, enum, service or method, in full
---@return table?
function schema:describe(name) end

---@param name string
---@return string?
function schema:documentation(name) end

---Raises on misuse, naming the field's path.
---@param of wgtwo.type
---@param value table|wgtwo.message
---@return string bytes
function core.encode(of, value) end

---@param of wgtwo.type
---@param bytes string
---@return wgtwo.message?
---@return string? reason
function core.decode(of, bytes) end

---@param m wgtwo.message
---@return table
function core.totable(m) end

---@param m wgtwo.message
---@param options? { names?: "json"|"proto", indent?: integer }
---@return string
function core.tojson(m, options) end

---@param of wgtwo.type
---@param text string
---@return wgtwo.message?
---@return string? reason
function core.fromjson(of, text) end

---@param m wgtwo.message
---@param field string
---@return boolean
function core.has(m, field) end

---@param m wgtwo.message
---@param oneof string
---@return string? field
function core.which(m, oneof) end

---@param m wgtwo.message
---@return string
function core.typename(m) end

---@param m wgtwo.message
---@return string
function core.bytes(m) end

---@param value any
---@return boolean
function core.is_message(value) end

---@param m wgtwo.message
---@return wgtwo.type
function core.type(m) end

---A function that reads a field deep inside of a message, such as "event.metadata.is_redelivered", without making the
---messages on the way; its default where something on the way is absent.
---@param kind wgtwo.type
---@param path string names with dots between them: messages, then a scalar
---@return fun(message: wgtwo.message): any
function core.reader(kind, path) end

---The `__index` of a class: the functions in getters are called with the message for their names; any other name is a
---field of it.
---@param getters table<string, fun(m: wgtwo.message): any>
---@return fun(m: wgtwo.message, name: string): any
function core.delegate(getters) end

---The same message without its class.
---@param message wgtwo.message
---@return wgtwo.message
function core.view(message) end

---What `take` was given for a message with a class, or `set_owner` since; nil for anything else.
---@param message any
---@return any
function core.owner(message) end

---@param message wgtwo.message with a class
---@param owner any
function core.set_owner(message, owner) end

---JSON's null.
---@type lightuserdata
core.null = nil

---@param text string
---@return any
---@return string? reason
function core.json_decode(text) end

---Raises for what JSON cannot say.
---@param value any
---@param indent? integer
---@return string
function core.json_encode(value, indent) end

---Marks a table as an array, also when it is empty.
---@param t table
---@return table t
function core.json_array(t) end

-- HTTP, processes, descriptors (http.c, probe.c, process.c, watch.c) -------------------------------------------------

---@class wgtwo.http_options
---@field url string
---@field method? string
---@field headers? string[] "Name: value"
---@field body? string
---@field username? string
---@field password? string
---@field ca_file? string
---@field timeout? number seconds
---@field connect_timeout? number seconds
---@field max_body? integer bytes

---@class wgtwo.http_response
---@field status integer
---@field headers table<string, string> lower-case names
---@field body string

---@class wgtwo.http_request: wgtwo.op
local request = {}

---@param options wgtwo.http_options
---@return wgtwo.http_request? nil: the URL cannot be used, or 1024 are under way
---@return string? reason
function core.http(options) end

---@return wgtwo.http_response|false|nil
---@return string? text
---@return integer? curl_code
function request:take() end

---@param certificates string PEM: one or more
---@param key? string PEM: of the first one
---@return boolean? good whether gRPC can use them (pem.c)
---@return string? reason
function core.check_pem(certificates, key) end

---One more connection that finds out why others fail (probe.c).
---@class wgtwo.probe: wgtwo.op
local probe = {}

---@class wgtwo.probe_options
---@field host string
---@field port integer
---@field plaintext? boolean
---@field roots? string PEM; nil: the system's
---@field cert? string PEM
---@field key? string PEM
---@field server_name? string that the certificate is to have; nil: the host
---@field insecure_skip_verify? boolean
---@field timeout? number seconds: 1

---@param options wgtwo.probe_options
---@return wgtwo.probe?
---@return string? reason
function core.probe(options) end

---@return false|{ ok?: true, reason?: string, text?: string }
function probe:take() end

---A child process: its standard input and output are pipes, its error output is ours.
---@class wgtwo.process: wgtwo.op
local process = {}

---@param options { argv: string[], env?: table<string, string|false>, grace?: number } grace in seconds: 2
---@return wgtwo.process?
---@return string? reason
function core.spawn(options) end

---@return integer|false exit_code false while it runs; 128 + n after signal n; -1: something else has waited for it
---@return integer? signal
function process:take() end

---@return integer
function process:pid() end

---@return integer fd of its standard output
function process:stdout() end

---@param text string
---@return boolean?
---@return string? reason
function process:write(text) end

---Closes its standard input.
function process:finish() end

---@param signal? integer
---@return boolean there was a process to kill
function process:kill(signal) end

---Becomes ready each time that more can be read from a descriptor: read until nothing is there, then wait.
---@class wgtwo.watch: wgtwo.op
local watch = {}

---@param fd integer
---@return wgtwo.watch?
---@return string? reason
function core.watch(fd) end

---Has news when a signal has come, which does nothing else until the watch is closed.
---@param number integer
---@return wgtwo.watch?
---@return string? reason
function core.watch_signal(number) end

---@return boolean readable, or whether the signal has come: once for each time it is told
function watch:take() end

---@param fd integer
---@param n integer bytes
---@return string|false|nil bytes "" at the end; false: nothing there now
---@return string? reason
function core.read(fd, n) end

-- The server side (server.c, server_call.c) -------------------------------------------------------------------------

---@class wgtwo.server: wgtwo.op
local server = {}

---@param arguments? table<string, integer|string> gRPC channel arguments
---@return wgtwo.server
function core.server(arguments) end

---@param address string "127.0.0.1:0"
---@param tls? { cert: string, key: string, client_ca?: string } PEM
---@return integer? port
---@return string? reason
function server:listen(address, tls) end

---Calls of this method begin with one message, and are handed out together with it. Before start.
---@param path string "/pkg.Service/Method"
function server:expect(path) end

function server:start() end

---@param spare? wgtwo.server_call closed and never watched: its userdata may show the next call
---@return wgtwo.server_call|false
function server:take(spare) end

---No new calls; the server becomes ready when the last of those that go on has ended. close ends them now.
function server:shutdown() end

---@return boolean
function server:stopped() end

---@class wgtwo.server_call: wgtwo.op
local server_call = {}

---@return string "/pkg.Service/Method"
function server_call:path() end

---The list, or the first value of one key.
---@param key? string
---@return wgtwo.metadata_list|string|nil
function server_call:metadata(key) end

---All keys and values, each as string.unpack's "s4" reads it.
---@return string
function server_call:packed_metadata() end

---@return string?
function server_call:peer() end

---@return number? seconds left
function server_call:deadline() end

---@return boolean
function server_call:cancelled() end

---@return boolean over nothing can be sent any more
function server_call:over() end

---An expected call becomes ready when it has news, such as its end, from now on; others do in any case.
function server_call:watch() end

---The next message; false: none yet; nil: half-closed or over.
---@param of? wgtwo.type
---@return wgtwo.message|string|false|nil
---@return string? reason
function server_call:take(of) end

---@param ... string|integer the parts of one message: bytes, and integers as varints
---@return boolean? queued false: the queue is full; nil: the call is over
function server_call:write(...) end

---The one answer of a unary call.
---@param ... string|integer its parts
---@return boolean?
function server_call:reply(...) end

---@param list? wgtwo.metadata_list
function server_call:headers(list) end

---@param code? integer
---@param message? string
---@param trailing? wgtwo.metadata_list
function server_call:finish(code, message, trailing) end

---@param code? integer
function server_call:reset(code) end

---@return integer messages
---@return integer bytes
function server_call:queued() end

-- A wire with faults, for tests (forwarder.c) -----------------------------------------------------------------------

---@class wgtwo.forwarder: wgtwo.op
local forwarder = {}

---@param options { target: string, port?: integer }
---@return wgtwo.forwarder?
---@return string? reason
function core.forwarder(options) end

---@return integer
function forwarder:port() end

---@class wgtwo.faults
---@field drop? boolean|"up"|"down"
---@field delay? number|false seconds
---@field bandwidth? number|false bytes a second
---@field refuse? boolean
---@field half_open? boolean
---@field cut_after? integer|false bytes

---@param faults wgtwo.faults
---@return boolean?
---@return string? reason
function forwarder:set(faults) end

---@return boolean?
---@return string? reason
function forwarder:clear() end

function forwarder:reset() end

function forwarder:close_connections() end

---@return { connections: integer, accepted: integer, up: integer, down: integer, dropped: integer }
function forwarder:stats() end

return core
