-- Every example runs as it is: by itself, against the sandbox that WGTWO_SANDBOX names, and with credentials.

local process = require("spec.support.process")
local wgtwo = require("wgtwo")

local examples = {
  { "getting_started.lua", prints = { "subscribed", "SMS_EVENT", "DELIVERED", "0 failed" } },
  { "events.lua", args = { "3" }, prints = { "3 events received, 3 acknowledged" } },
  { "send_sms.lua", prints = { "1 SMS", "sent: " } },
  { "token.lua", prints = { "events.sms.subscribe", "gives the same: true" } },
  { "consent_revoked.lua", args = { "3" }, prints = { "forget everything about %+%d+" } },
  { "call_any_method.lua", prints = { "needs the scope subscription.consent:read", "statusCode" } },
}

-- What no example may print.
local secrets = { "demo%-secret", "s3cret", "Bearer", "access_token" }

local none = { WGTWO_ENV = false, WGTWO_SANDBOX = false, CLIENT_ID = false, CLIENT_SECRET = false,
  WGTWO_CLIENT_ID = false, WGTWO_CLIENT_SECRET = false }

local function with(env)
  local all = {}
  for name, value in pairs(none) do all[name] = value end
  for name, value in pairs(env) do all[name] = value end
  return all
end

local function run(example, env)
  local result = process.lua("examples/" .. example[1], { args = example.args, env = with(env), timeout = 30 })
  assert.is_true(result.ok, result.output .. result.errors)
  assert.equal("", result.errors)
  for _, pattern in ipairs(example.prints) do assert.matches(pattern, result.output) end
  for _, secret in ipairs(secrets) do assert.not_matches(secret, result.output) end
end

describe("example", function()
  local sandbox

  setup(function()
    sandbox = assert(wgtwo.sandbox.start{
      generate = { types = { "SMS_EVENT", "CONSENT_REVOKE_EVENT", "consent_change" }, rate = 50 },
      clients = { { id = "my-id", secret = "s3cret", scopes = { "events.sms.subscribe", "sms.text:send_to_subscriber",
        "events.sms_delivery_report.subscribe", "subscription.consent:read" } } },
    })
  end)

  teardown(function() sandbox:close() end)

  for _, example in ipairs(examples) do
    it(example[1] .. " runs by itself", function() run(example, {}) end)

    it(example[1] .. " runs with credentials", function()
      run(example, { WGTWO_ENV = "local", WGTWO_SANDBOX = sandbox.url, CLIENT_ID = "my-id", CLIENT_SECRET = "s3cret" })
    end)
  end

  for _, example in ipairs(examples) do
    it(example[1] .. " went to the platform where a variable was set, but empty", function()
      run(example, { WGTWO_ENV = "", WGTWO_SANDBOX = "", CLIENT_ID = "", WGTWO_CLIENT_ID = "", SUBSCRIBER = "" })
    end)
  end

  it("events.lua is ended by Ctrl-C, after its acknowledgements", function()
    local child = process.start('dofile("examples/events.lua")', { env = none, timeout = 30 })
    assert.matches("waiting for SMS_EVENT", child:line())
    for _ = 1, 2 do assert.matches("Z SMS_EVENT of ", child:line()) end
    child:kill("INT")
    local rest, code = child:wait()
    assert.equal(0, code or 0, rest)
    local received, acked = rest:match("(%d+) events received, (%d+) acknowledged")
    assert.is_true(tonumber(received) >= 2, rest)
    assert.is_true(tonumber(received) - tonumber(acked) <= 1, rest)
  end)

  it("events.lua failed by a nil value where Ctrl-C came before it had subscribed", function()
    local other <close> = assert(wgtwo.sandbox.start{ generate = { types = { "SMS_EVENT" } } })
    for _, script in ipairs{ "events.lua", "consent_revoked.lua" } do
      local child = process.start(('dofile("examples/%s")'):format(script),
        { env = { WGTWO_ENV = "local", WGTWO_SANDBOX = other.url }, timeout = 30 })
      assert.matches("waiting for", child:line())
      child:kill("INT")
      local rest, code = child:wait()
      assert.equal(0, code or 0, rest)
    end
  end)

  it("call_any_method.lua showed a traceback where Ctrl-C ended a stream", function()
    local child = process.start('arg = { [0] = "", "NumberLookup" } dofile("examples/call_any_method.lua")',
      { env = none, timeout = 30 })
    assert.matches("NumberLookup", child:line())
    assert.matches('"number"', child:line())
    child:kill("INT")
    local rest, code = child:wait()
    assert.equal(0, code or 0, rest)
  end)

  it("call_any_method.lua asked for no scope for v0 events", function()
    local other <close> = assert(wgtwo.sandbox.start{})
    other:publish{ type = "SMS_EVENT", payload = { text = "hello" } }
    local child = process.start([=[
      arg = { [0] = "", "EventsService/Subscribe", '{"type":["SMS_EVENT"],"startAtOldestPossible":{}}' }
      dofile("examples/call_any_method.lua")]=], { timeout = 30,
      env = { WGTWO_ENV = "local", WGTWO_SANDBOX = other.url, CLIENT_ID = "id", CLIENT_SECRET = "secret" } })
    assert.matches("EventsService/Subscribe", child:line())
    assert.matches('"text":"hello"', child:line(), 1, true)
    other:end_streams()
    local rest, code = child:wait()
    assert.equal(0, code or 0, rest)
  end)

  it("send_sms.lua raised where the text is no UTF-8", function()
    local result = process.lua("examples/send_sms.lua", { args = { "+4799990001", "\xFF" }, env = none })
    assert.equal(1, result.code)
    assert.matches("not sent: .*content: .*UTF%-8", result.output)
    assert.equal("", result.errors)
  end)

  it("call_any_method.lua lists all methods", function()
    local result = process.lua("examples/call_any_method.lua", { args = { "list" }, env = none })
    assert.is_true(result.ok, result.errors)
    assert.matches("wgtwo.sms.v1.SmsService/SendTextToSubscriber +sms.text:send_to_subscriber", result.output)
  end)

  it("send_sms.lua says what is wrong with a number", function()
    local result = process.lua("examples/send_sms.lua", { args = { "12345" }, env = none })
    assert.equal(1, result.code)
    assert.matches("not sent: .*to_subscriber", result.output)
  end)
end)
