---@meta wgtwo
-- The public API as types, for the Lua language server. Nothing loads this file; each module's own comments say more.
-- luacheck: ignore 212 241

---@class wgtwo
---@field _VERSION string
---@field error wgtwo.errors
---@field oauth wgtwo.oauth
---@field message wgtwo.messages
---@field sms wgtwo.sms
---@field sandbox wgtwo.sandboxes
---@field schema wgtwo.schemas
---@field loop wgtwo.loop
---@field limits table
local wgtwo = {}

-- Errors ------------------------------------------------------------------------------------------------------------

---@class wgtwo.error
---@field kind "rpc"|"oauth"|"http"|"sms"|"ack"|"timeout"|"closed"|"decode"
---@field code string
---@field number? integer the gRPC status number
---@field http_status? integer
---@field message string
---@field details table[] each with `type`
---@field metadata table<string, string>
---@field method? string
---@field target? string
---@field scope? string
---@field hint? string
---@field retryable boolean
---@field outcome? "not_sent"|"rejected"|"unknown" of calls that send, create or copy

---@class wgtwo.errors
local errors = {}
---@param value any
---@return boolean
function errors.is(value) end
---@param fields table
---@param secrets? string[]
---@return wgtwo.error
function errors.new(fields, secrets) end
---@param number integer
---@return string
function errors.name(number) end
---@param name string
---@return integer?
function errors.number(name) end
---@param status integer|string
---@return integer
function errors.http_status(status) end
---@param status integer|string
---@return boolean
function errors.retryable(status) end
---@param text string
---@param secrets? string[]
---@return string
function errors.redact(text, secrets) end

-- Tokens ------------------------------------------------------------------------------------------------------------

---@class wgtwo.token
---@field access_token string
---@field token_type string
---@field scope? string
---@field expires_in? number seconds
---@field expires_at? number seconds since 1970
---@field refresh_token? string
---@field id_token? string

---@class wgtwo.source
local source = {}
---@param scopes? string[]
---@return wgtwo.token?
---@return wgtwo.error?
function source:token(scopes) end
function source:invalidate() end

---@class wgtwo.user: wgtwo.source
local user = {}
---@param options? { state?: string, nonce?: string, prompt?: string }
---@return string url
function user:authorize_url(options) end
---@param code string
---@return wgtwo.token?
---@return wgtwo.error?
function user:exchange(code) end
---@return table?
---@return wgtwo.error?
function user:userinfo() end
---@return boolean?
---@return wgtwo.error?
function user:revoke() end

---@class wgtwo.client_credentials_options
---@field client_id string
---@field client_secret string
---@field scopes? string[]
---@field token_url? string

---@class wgtwo.authorization_code_options
---@field client_id string
---@field client_secret string
---@field redirect_uri string
---@field scopes? string[]

---@class wgtwo.oauth
local oauth = {}
---@param options wgtwo.client_credentials_options
---@return wgtwo.source
function oauth.client_credentials(options) end
---@param token string
---@return wgtwo.source
function oauth.static(token) end
---@param options wgtwo.authorization_code_options
---@return wgtwo.user
function oauth.authorization_code(options) end

-- Client ------------------------------------------------------------------------------------------------------------

---@class wgtwo.connect_options
---@field env? "local"|"sandbox"|"eu"|"us"|"sakura"|"production"
---@field target? string "host:port"
---@field auth? wgtwo.source|false
---@field tls? wgtwo.tls_options
---@field plaintext? boolean
---@field metadata? table<string, string>
---@field timeout? number|false seconds
---@field max_message_size? integer bytes
---@field keepalive? { time?: number, timeout?: number, without_calls?: boolean }|false
---@field connect_timeout? number seconds
---@field user_agent? string
---@field logger? fun(level: "debug"|"info"|"warn"|"error", message: string, fields: table)|false

---@class wgtwo.tls_options
---@field ca_file? string
---@field cert_file? string
---@field key_file? string
---@field server_name? string
---@field insecure_skip_verify? boolean

---@param options? wgtwo.connect_options
---@return wgtwo.client?
---@return wgtwo.error?
function wgtwo.connect(options) end

---@class wgtwo.call_settings
---@field timeout? number|false seconds
---@field metadata? table<string, string>
---@field scope? string|string[]
---@field wait_for_ready? boolean
---@field max_message_size? integer bytes

---@class wgtwo.client
---@field sms wgtwo.sms_service
---@field sms_v0 wgtwo.sms_service
local client = {}
---@param method string
---@param request? table|wgtwo.message
---@param settings? wgtwo.call_settings
---@return wgtwo.message?
---@return wgtwo.error?
function client:call(method, request, settings) end
---@param method string
---@param request? table|wgtwo.message
---@param settings? wgtwo.call_settings
---@return wgtwo.stream?
---@return wgtwo.error?
function client:stream(method, request, settings) end
---@param options wgtwo.events_options
---@return wgtwo.subscription
function client:events(options) end
---@param timeout? number seconds
---@return boolean?
---@return wgtwo.error?
function client:close(timeout) end
---@return table<string, integer|string>
function client:stats() end

---@class wgtwo.stream
---@overload fun(): wgtwo.message?
local stream = {}
---@param timeout? number seconds
---@return wgtwo.message?
---@return wgtwo.error?
function stream:read(timeout) end
---@param message table|wgtwo.message
---@return boolean?
---@return wgtwo.error?
function stream:write(message) end
---@return boolean?
---@return wgtwo.error?
function stream:finish() end
function stream:cancel() end
function stream:close() end

-- Events ------------------------------------------------------------------------------------------------------------

---@class wgtwo.events_options
---@field types string[]
---@field queue? string
---@field queue_name? string
---@field durable_name? string
---@field client_id? string
---@field max_in_flight? integer
---@field ack_timeout? number seconds
---@field ack? "manual"|"auto"|"none"
---@field start? "new"|"oldest"|"last_received"|{ sequence?: integer, timestamp?: number, ago?: number }
---@field reconnect? boolean|{ max_attempts?: integer, initial?: number, max?: number }

---@class wgtwo.subscription
---@overload fun(): wgtwo.event?
local subscription = {}
---@param timeout? number seconds
---@return wgtwo.event?
---@return wgtwo.error?
function subscription:next(timeout) end
---@param timeout? number seconds
---@return boolean?
---@return wgtwo.error?
function subscription:close(timeout) end
---@return table<string, integer>
function subscription:stats() end

---@class wgtwo.event
---@field type string
---@field api "v0"|"v1"
---@field payload wgtwo.message
---@field timestamp number seconds since 1970
---@field number? string
---@field is_redelivered boolean
---@field sequence? integer
---@field message wgtwo.message
---@field [string] any
local event = {}
---@param options? { wait?: boolean }
---@return boolean?
---@return wgtwo.error?
function event:ack(options) end

-- SMS ---------------------------------------------------------------------------------------------------------------

---@class wgtwo.sms_service
local sms_service = {}
---@param fields { content: string, to_subscriber: string, from_address: string, delivery_deadline?: number }
---@return wgtwo.message?
---@return wgtwo.error?
function sms_service:send_text_to_subscriber(fields) end
---@param fields table
---@return wgtwo.message?
---@return wgtwo.error?
function sms_service:send_text_from_subscriber(fields) end
---@param fields table
---@return wgtwo.message?
---@return wgtwo.error?
function sms_service:send_data_to_subscriber(fields) end

---@class wgtwo.sms
local sms = {}
---@param text string
---@return { encoding: "GSM-7"|"UCS-2", characters: integer, fragments: integer }
function sms.fragments(text) end

-- Messages and schema -----------------------------------------------------------------------------------------------

---@class wgtwo.messages
local messages = {}
---@param kind string|wgtwo.type
---@param fields? table
---@return wgtwo.message
function messages.new(kind, fields) end
---@param kind string|wgtwo.type
---@param fields table|wgtwo.message
---@return string bytes
function messages.encode(kind, fields) end
---@param kind string|wgtwo.type
---@param bytes string
---@return wgtwo.message?
---@return wgtwo.error?
function messages.decode(kind, bytes) end
---@param m wgtwo.message
---@return table
function messages.totable(m) end
---@param m wgtwo.message
---@param options? { names?: "json"|"proto", indent?: integer }
---@return string
function messages.tojson(m, options) end
---@param kind string|wgtwo.type
---@param text string
---@return wgtwo.message?
---@return wgtwo.error?
function messages.fromjson(kind, text) end
---@param m wgtwo.message
---@param field string
---@return boolean
function messages.has(m, field) end
---@param m wgtwo.message
---@param oneof string
---@return string?
function messages.which(m, oneof) end
---@param m wgtwo.message
---@return string
function messages.typename(m) end
---@param value any
---@return boolean
function messages.is(value) end

---@class wgtwo.method: wgtwo.core_method
---@field path string "/pkg.Service/Method"
---@field kind "unary"|"server"|"client"|"bidi"
---@field schema wgtwo.core_schema

---@class wgtwo.schemas
local schemas = {}
---@return wgtwo.core_schema
function schemas.default() end
---@param set string a path or bytes
---@return wgtwo.core_schema?
---@return wgtwo.error?
function schemas.load(set) end
---@param name string
---@return wgtwo.method
function schemas.resolve(name) end
---@return wgtwo.method[]
function schemas.methods() end
---@param name string
---@return wgtwo.type
function schemas.type(name) end
---@param name string
---@return table?
function schemas.describe(name) end
---@param name string
---@return string?
function schemas.documentation(name) end

-- Sandbox -----------------------------------------------------------------------------------------------------------

---@class wgtwo.sandbox
---@field target string TLS
---@field plaintext_target string
---@field ca_file string
---@field url string OAuth and administration
---@field oauth_url string OAuth: the same, or with `wire` its forwarder
---@field pid integer
local sandbox = {}
---@param what { type: string, number?: string, payload?: table }
---@return string? id
---@return wgtwo.error?
function sandbox:publish(what) end
---@return table[]?
---@return wgtwo.error?
function sandbox:journal() end
---Options for `wgtwo.connect`.
---@return wgtwo.connect_options
function sandbox:client() end
function sandbox:close() end

---@class wgtwo.sandboxes
local sandboxes = {}
---@param options? table
---@return wgtwo.sandbox?
---@return wgtwo.error?
function sandboxes.start(options) end

-- Waiting -----------------------------------------------------------------------------------------------------------

---@class wgtwo.task
local task = {}
---@param timeout? number seconds
---@return any ... what its function returned; nil and an error of kind "timeout"
function task:join(timeout) end
function task:cancel() end

---@class wgtwo.signal
local signal = {}
---@param deadline? number on the clock of `now`
---@return boolean
function signal:wait(deadline) end
function signal:notify() end

---@param f? function
---@param ... any
---@return any ... what f returned
function wgtwo.run(f, ...) end
---@param f function
---@param ... any
---@return wgtwo.task
function wgtwo.spawn(f, ...) end
---@param seconds number
function wgtwo.sleep(seconds) end

---@class wgtwo.loop
local loop = {}
loop.run, loop.spawn, loop.sleep = wgtwo.run, wgtwo.spawn, wgtwo.sleep
---@return number seconds
function loop.now() end
---@param timeout? number seconds
---@return number?
function loop.deadline(timeout) end
---@param op wgtwo.op
---@return any ...
function loop.result(op) end
---@param op wgtwo.op|wgtwo.signal
---@param deadline? number
---@return boolean
function loop.wait(op, deadline) end
---@param list (wgtwo.op|wgtwo.signal)[]
---@param deadline? number
---@return wgtwo.op|wgtwo.signal|false
function loop.wait_any(list, deadline) end
---@return wgtwo.signal
function loop.signal() end
---@param name string
---@param f function
---@param ... any
---@return wgtwo.task
function loop.daemon(name, f, ...) end
function loop.pass() end
---@return integer
function loop.pollfd() end
---@return string
function loop.events() end
---@return number?
function loop.timeout() end
function loop.step() end

return wgtwo
