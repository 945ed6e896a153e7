---@meta wgtwo.httpd
-- The C module of the sandbox's HTTP side as Lua sees it, for the Lua language server and for readers. Nothing loads
-- this file. Its objects are operations of the loop, as those of wgtwo.core are.
-- luacheck: ignore 212 241

local httpd = {}

---@class wgtwo.httpd.listen_options
---@field address? string default "127.0.0.1"
---@field port? integer default 0: the kernel chooses
---@field cert? string PEM; with it and key it speaks HTTPS
---@field key? string PEM
---@field max_body? integer bytes, default 1 MiB; more is answered with 413
---@field connection_timeout? integer whole seconds, default 60, for idle connections

---@class wgtwo.httpd.daemon: wgtwo.op
local daemon = {}

---@param options? wgtwo.httpd.listen_options
---@return wgtwo.httpd.daemon?
---@return string? reason
function httpd.listen(options) end

---@return integer
function daemon:port() end

---@return wgtwo.httpd.request|false
function daemon:take() end

---@class wgtwo.httpd.request
local request = {}

---@return string
function request:method() end

---Percent-decoded, without the query.
---@return string
function request:path() end

---@return table<string, string>
function request:query() end

---@param name string in any case
---@return string?
function request:header(name) end

---@return table<string, string> by lower-case name
function request:headers() end

---@return string
function request:body() end

---@class wgtwo.httpd.respond_options
---@field cut_after? integer bytes of the body, all of whose length is announced, before the connection ends; no effect
---  on a body that is no longer

---@param status integer
---@param headers? table<string, string>
---@param body? string
---@param options? wgtwo.httpd.respond_options
---@return boolean?
---@return string? reason it was answered before, or the peer is gone
function request:respond(status, headers, body, options) end

---@class wgtwo.httpd.certificate_options
---@field names? string[]
---@field addresses? string[]
---@field subject? string
---@field days? integer
---@field not_before? integer seconds since 1970
---@field not_after? integer seconds since 1970
---@field ca? { cert: string, key: string } the authority that signs, PEM
---@field is_ca? boolean
---@field client? boolean

---@param options? wgtwo.httpd.certificate_options
---@return { cert: string, key: string, ca: string } PEM
function httpd.certificate(options) end

---An RSA key of 2048 bits that signs with RS256.
---@class wgtwo.httpd.signing_key
local signing_key = {}

---@param pem? string a private key that `pem` gave; default: a new one
---@return wgtwo.httpd.signing_key
function httpd.signing_key(pem) end

---@param text string
---@return string
function signing_key:sign(text) end

---@return string big-endian
function signing_key:modulus() end

---@return string big-endian
function signing_key:exponent() end

---@return string
function signing_key:pem() end

return httpd
