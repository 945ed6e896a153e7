local message = require "wgtwo.message"

local NUMBER = "wgtwo.common.v0.PhoneNumber"
local EVENT = "wgtwo.events.v0.Event"

local function misuse(f, ...)
  local ok, text = pcall(f, ...)
  assert.is_false(ok)
  return text
end

describe("wgtwo.message", function()
  it("makes a message from a table, and gives it back", function()
    local m = message.new(NUMBER, { e164 = "+4799990000" })
    assert.equal("+4799990000", m.e164)
    assert.equal(NUMBER, message.typename(m))
    assert.same({ e164 = "+4799990000" }, message.totable(m))
    assert.is_true(message.is(m))
    assert.is_false(message.is({}))
    assert.equal("", message.new(NUMBER).e164)
  end)

  it("takes a type by name, by an ending of it, or by a message of it", function()
    local bytes = message.encode(NUMBER, { e164 = "+1" })
    assert.equal(bytes, message.encode("common.v0.PhoneNumber", { e164 = "+1" }))
    assert.equal(bytes, message.encode(message.new(NUMBER), { e164 = "+1" }))
    assert.equal(bytes, message.encode(NUMBER, message.new(NUMBER, { e164 = "+1" })))
    assert.equal("+1", message.decode(NUMBER, bytes).e164)
  end)

  it("tells which member of a oneof is set, and what is set at all", function()
    local event = message.new(EVENT, { sms_event = { text = "hi" } })
    assert.equal("sms_event", message.which(event, "event"))
    assert.is_true(message.has(event, "sms_event"))
    assert.is_false(message.has(event, "metadata"))
  end)

  it("writes and reads JSON", function()
    local event = message.new(EVENT, { service_id = "s", metadata = { sequence = 7, ack_inbox = "i" } })
    local text = message.tojson(event)
    assert.matches('"serviceId":%s*"s"', text)
    assert.matches('"sequence":%s*"7"', text)
    assert.matches('"service_id"', message.tojson(event, { names = "proto" }))
    assert.matches('\n', message.tojson(event, { indent = 2 }))
    for _, form in ipairs{ text, message.tojson(event, { names = "proto" }) } do
      assert.equal(message.encode(EVENT, event), message.encode(EVENT, assert(message.fromjson(EVENT, form))))
    end
  end)

  it("gives an error object for bytes and texts that are none", function()
    local m, err = message.decode(NUMBER, "\255\255")
    assert.is_nil(m)
    assert.same({ "decode", "invalid_message" }, { err.kind, err.code })
    m, err = message.fromjson(NUMBER, "{")
    assert.is_nil(m)
    assert.same({ "decode", "invalid_json" }, { err.kind, err.code })
    assert.matches("invalid_json: ", tostring(err), 1, true)
  end)

  it("raises misuse at the line of the script, with the nearest name", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local text = misuse(function() message.encode(NUMBER, { e146 = "+1" }) end)
    assert.matches("message_module_spec.lua:" .. line .. ": ", text, 1, true)
    assert.matches("e164", text, 1, true)
    text = misuse(function() message.new("wgtwo.common.v0.PhoneNumbr") end)
    assert.matches("message_module_spec.lua:" .. line + 3 .. ": unknown message type", text, 1, true)
    assert.matches(NUMBER, text, 1, true)
    assert.matches("names: unknown value", misuse(message.tojson, message.new(NUMBER), { names = "x" }), 1, true)
    assert.matches("must be a string, not nil", misuse(message.decode, NUMBER), 1, true)
    assert.matches("e164", misuse(message.has, message.new(NUMBER), "e146"), 1, true)
    assert.matches("message", misuse(message.totable, 5), 1, true)
  end)
end)
