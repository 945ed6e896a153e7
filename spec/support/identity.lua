-- An identity server in this process, for tests of tokens: real HTTP, and answers that each test writes itself.
--
--     local identity <close> = require("spec.support.identity").start()
--     identity.answers = { { 503, {}, "" } }          -- in turn; then, and without any, a good token each
--     identity.requests[1].form.scope                 -- what was asked

local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local loop = require("wgtwo.loop")

local M = {}

local Identity = {}
Identity.__index = Identity

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function parse_form(body)
  local form = {}
  for name, value in body:gmatch("([^&=]+)=([^&]*)") do form[unescape(name)] = unescape(value) end
  return form
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function decode_base64(text)
  local bits, count, bytes = 0, 0, {}
  for char in text:gmatch("[%w+/]") do
    bits, count = bits << 6 | digits:find(char, 1, true) - 1, count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(bits >> count & 0xff)
      bits = bits & (1 << count) - 1
    end
  end
  return table.concat(bytes)
end

--- A good answer: its token is "token-1", "token-2", …; `fields` over it.
function Identity:good(fields)
  self.count = self.count + 1
  local body = { access_token = "token-" .. self.count, token_type = "bearer", expires_in = 3599 }
  for name, value in pairs(fields or {}) do
    if value == false then body[name] = nil else body[name] = value end
  end
  return { 200, { ["Content-Type"] = "application/json" }, core.json_encode(body) }
end

local function serve(self, request)
  local basic = (request:header("Authorization") or ""):match("^Basic (.+)$")
  local record = {
    method = request:method(), path = request:path(), form = parse_form(request:body()), body = request:body(),
    basic = basic and decode_base64(basic), authorization = request:header("Authorization"), at = core.now(),
  }
  self.requests[#self.requests + 1] = record
  local answer = table.remove(self.answers, 1)
  if self.delay then loop.sleep(self.delay) end
  if type(answer) == "function" then answer = answer(record) end
  answer = answer or self:good(record.form.scope and { scope = record.form.scope })
  request:respond(answer[1], answer[2], answer[3])
end

--- Starts one.
-- @tparam ?table options of wgtwo.httpd.listen
function M.start(options)
  local self = setmetatable({ requests = {}, answers = {}, count = 0, tasks = {} }, Identity)
  self.daemon = assert(httpd.listen(options or {}))
  self.url = (options and options.cert and "https" or "http") .. "://127.0.0.1:" .. self.daemon:port()
  self.token_url = self.url .. "/oauth2/token"
  self.acceptor = loop.daemon("test identity", function()
    while true do
      local request = self.daemon:take()
      if request then
        self.tasks[#self.tasks + 1] = loop.daemon("test request", serve, self, request)
      else
        loop.wait(self.daemon)
      end
    end
  end)
  return self
end

--- Ends it; a connect is refused from then on.
function Identity:close()
  self.acceptor:cancel()
  for _, task in ipairs(self.tasks) do task:cancel() end
  self.daemon:close()
end

Identity.__close = Identity.close

return M
