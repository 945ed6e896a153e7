local core = require("wgtwo.core")
local schema = require("wgtwo.schema")

local REPLY = schema.type("wgtwo.events.v0.SubscribeEventsResponse")

describe("reader", function()
  local function reply(event)
    return core.decode(REPLY, core.encode(REPLY, { event = event }))
  end

  it("reads a scalar deep inside", function()
    local message = reply{ metadata = { sequence = 7, is_redelivered = true, ack_inbox = "box" },
      sms_event = { text = "hi", direction = "TO_SUBSCRIBER" } }
    for path, value in pairs{
      ["event.metadata.sequence"] = 7, ["event.metadata.is_redelivered"] = true, ["event.metadata.ack_inbox"] = "box",
      ["event.sms_event.text"] = "hi", ["event.sms_event.direction"] = "TO_SUBSCRIBER",
    } do
      assert.equal(value, core.reader(REPLY, path)(message))
    end
    assert.equal("box", core.reader(schema.type("wgtwo.events.v0.Event"), "metadata.ack_inbox")(message.event))
  end)

  it("gives the default where something on the way is absent", function()
    local sequence, text = core.reader(REPLY, "event.metadata.sequence"), core.reader(REPLY, "event.sms_event.text")
    assert.equal(0, sequence(core.decode(REPLY, "")))
    assert.equal(0, sequence(reply{}))
    assert.equal(0, sequence(reply{ metadata = {} }))
    assert.equal("", text(reply{ voice_event = {} }))
  end)

  it("joins a message that is on the wire more than once, as reading does", function()
    local first = core.encode(REPLY, { event = { metadata = { sequence = 7 } } })
    local second = core.encode(REPLY, { event = { metadata = { ack_inbox = "box" } } })
    local message = core.decode(REPLY, first .. second)
    assert.equal(7, message.event.metadata.sequence)
    assert.equal(7, core.reader(REPLY, "event.metadata.sequence")(message))
    assert.equal("box", core.reader(REPLY, "event.metadata.ack_inbox")(message))
  end)

  it("raises on misuse", function()
    for pattern, path in pairs{
      ["no field 'nothing' %(it has: metadata, "] = "event.nothing", ["is a message"] = "event.metadata",
      ["is no message"] = "event.service_id.x",
      ["no field ''"] = "event.", ["no field 'e'"] = "e",
    } do
      assert.error_matches(function() core.reader(REPLY, path) end, pattern)
    end
    assert.error_matches(function()
      core.reader(schema.type("wgtwo.events.v0.SubscribeEventsRequest"), "type")
    end, "is a list")
    assert.error_matches(function() core.reader(REPLY, "event.service_id")({}) end, "message expected")
    assert.error_matches(function()
      core.reader(REPLY, "event.service_id")(core.decode(schema.type("wgtwo.events.v0.Event"), ""))
    end, "SubscribeEventsResponse expected")
  end)
end)
