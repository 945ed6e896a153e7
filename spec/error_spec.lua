local errors = require "wgtwo.error"

local info = { method = "wgtwo.sms.v1.SmsService/SendTextToSubscriber", target = "host:443", scope = "sms.text:send" }

-- The wire format by hand: a field of length-prefixed bytes, and a small varint.
local function field(number, bytes) return string.char(number << 3 | 2, #bytes) .. bytes end
local function varint(number, value) return string.char(number << 3, value) end

describe("error.rpc", function()
  it("has code, number and HTTP status of the platform's table", function()
    local expected = {
      { 16, "UNAUTHENTICATED", 401 }, { 7, "PERMISSION_DENIED", 403 }, { 8, "RESOURCE_EXHAUSTED", 429 },
      { 13, "INTERNAL", 500 }, { 12, "UNIMPLEMENTED", 404 }, { 5, "NOT_FOUND", 404 },
      { 14, "UNAVAILABLE", 503 }, { 4, "DEADLINE_EXCEEDED", 504 }, { 3, "INVALID_ARGUMENT", 400 },
    }
    for _, row in ipairs(expected) do
      local err = errors.rpc({ code = row[1], message = "m" }, info)
      assert.same({ "rpc", row[1], row[2], row[3] }, { err.kind, err.number, err.code, err.http_status })
      assert.equal(row[1], errors.number(row[2]))
      assert.equal(row[2], errors.name(row[1]))
      assert.equal(row[3], errors.http_status(row[2]))
    end
  end)

  it("keeps a number that gRPC does not have", function()
    local err = errors.rpc({ code = 99, message = "odd" })
    assert.same({ 99, "UNKNOWN" }, { err.number, err.code })
  end)

  it("knows what may pass when tried again", function()
    assert.is_true(errors.rpc({ code = 14 }).retryable)
    assert.is_true(errors.rpc({ code = 8 }).retryable)
    assert.is_false(errors.rpc({ code = 7 }).retryable)
    assert.is_false(errors.rpc({ code = 3 }).retryable)
    assert.is_false(errors.rpc({ code = 12 }).retryable)
    assert.is_false(errors.rpc({ code = 16 }).retryable)
  end)

  it("is one line: code, number, message, method and target, what to do", function()
    local text = tostring(errors.rpc({ code = 7, message = "not\n  allowed" }, info))
    assert.equal("PERMISSION_DENIED (7): not allowed [wgtwo.sms.v1.SmsService/SendTextToSubscriber at host:443] "
      .. '- the token needs the scope "sms.text:send"', text)
    assert.matches("^UNAVAILABLE %(14%): .+ %- .+", tostring(errors.rpc({ code = 14 }, info)))
    assert.not_matches("\n", tostring(errors.rpc({ code = 14, message = "a\r\nb\0c" }, info)), 1, true)
  end)

  it("falls back to the transport's text, then to what the code means", function()
    assert.equal("core text", errors.rpc({ code = 14, message = "", error = "core text" }).message)
    assert.equal("no answer in time", errors.rpc({ code = 4, message = "" }).message)
  end)

  it("has the trailing metadata by name", function()
    local err = errors.rpc{ code = 8, metadata = { { "retry-after", "3" }, { "x", "1" }, { "x", "2" } } }
    assert.same({ ["retry-after"] = "3", x = "1, 2" }, err.metadata)
    assert.same({}, errors.rpc{ code = 8 }.metadata)
    assert.same({}, errors.rpc{ code = 8 }.details)
  end)

  it("decodes the status details, and keeps types it does not know as bytes", function()
    local any = function(name, bytes)
      return field(3, field(1, "type.googleapis.com/" .. name) .. field(2, bytes))
    end
    local info_bytes = field(1, "QUOTA") .. field(2, "example.org") .. field(3, field(1, "k") .. field(2, "v"))
    local bytes = varint(1, 8) .. field(2, "slow down")
      .. any("google.rpc.ErrorInfo", info_bytes)
      .. any("google.rpc.BadRequest", field(1, field(1, "a.b") .. field(2, "too long")))
      .. any("example.Unknown", "\1\2\3")
    local err = errors.rpc{ code = 8, message = "slow down", metadata = { { "grpc-status-details-bin", bytes } } }
    assert.same({
      { type = "google.rpc.ErrorInfo", reason = "QUOTA", domain = "example.org", metadata = { k = "v" } },
      { type = "google.rpc.BadRequest", field_violations = { { field = "a.b", description = "too long" } } },
      { type = "example.Unknown", value = "\1\2\3" },
    }, err.details)
  end)

  it("has no details where the bytes are damaged", function()
    local err = errors.rpc{ code = 8, metadata = { { "grpc-status-details-bin", "\255\255\255" } } }
    assert.same({}, err.details)
  end)
end)

describe("error.new", function()
  it("is recognised, and nothing else is", function()
    assert.is_true(errors.is(errors.timeout("late")))
    for _, other in ipairs{ "late", 1, true, {}, setmetatable({}, {}), print } do assert.is_false(errors.is(other)) end
    assert.is_false(errors.is(nil))
  end)

  it("refuses a kind that does not exist", function()
    assert.has_error(function() errors.new{ kind = "nope" } end)
  end)

  it("has the kinds timeout and closed", function()
    local late, gone = errors.timeout("no event within 5 s"), errors.closed("the client is closed")
    assert.same({ "timeout", true }, { late.kind, late.retryable })
    assert.same({ "closed", false }, { gone.kind, gone.retryable })
    assert.equal("timeout: no event within 5 s", tostring(late))
  end)

  it("says that an outcome is unknown", function()
    assert.matches("it may have happened", tostring(errors.rpc({ code = 4 }, { outcome = "unknown" })), 1, true)
  end)

  it("can be part of a text, and be raised", function()
    local err = errors.closed("gone")
    assert.equal("failed: closed: gone", "failed: " .. err)
    local ok, raised = pcall(error, err)
    assert.is_false(ok)
    assert.equal(err, raised)
  end)
end)

describe("error.redact", function()
  it("masks credentials", function()
    local texts = {
      "authorization: Bearer s3cr3t-value", "Authorization: Basic aWQ6czNjcjN0LXZhbHVl", "got bearer s3cr3t-value back",
      '{"access_token": "s3cr3t-value", "x": 1}', '{"refresh_token":"s3cr3t-value"}', "client_secret=s3cr3t-value&a=b",
      "client_secret: s3cr3t-value", 'password = "s3cr3t-value"', "https://id:s3cr3t-value@host/x",
      "id_token=eyJhbGciOi.eyJzdWIi.s3cr3t-value", "token eyJhbGciOiJSUzI1.eyJzdWIiOiJ4.s3cr3t-value is bad",
    }
    for _, text in ipairs(texts) do
      local masked = errors.redact(text)
      assert.not_matches("s3cr3t", masked, 1, true)
      assert.not_matches("czNjcjN0", masked, 1, true)
      assert.matches("***", masked, 1, true)
      assert.not_matches("s3cr3t", tostring(errors.new{ kind = "oauth", message = text }), 1, true)
    end
  end)

  it("masks what it is told, whatever it looks like", function()
    assert.equal("is *** ok", errors.redact("is a+b%c.d ok", { "a+b%c.d" }))
    assert.not_matches("wxyz", errors.new({ kind = "oauth", message = "bad wxyz here" }, { "wxyz" }).message)
  end)

  it("leaves ordinary texts alone", function()
    local texts = {
      "the bearer token is required", "invalid token: expired", "basic authentication failed", "code=14 status=7",
      "page_token=abc", '{"scope": "events.sms.subscribe"}', "https://id.wgtwo.com/oauth2/token",
    }
    for _, text in ipairs(texts) do assert.equal(text, errors.redact(text)) end
  end)
end)
