-- Encoded messages that the sandbox puts together by hand.

local framing = require("wgtwo.sandbox.framing")

describe("framing", function()
  local borders = { [0] = "\0", [0x7F] = "\x7F", [0x80] = "\x80\x01", [0xFFF] = "\xFF\x1F", [0x1000] = "\x80\x20",
    [0x3FFF] = "\xFF\x7F", [0x4000] = "\x80\x80\x01", [0x1FFFFF] = "\xFF\xFF\x7F", [0x200000] = "\x80\x80\x80\x01",
    [math.maxinteger] = ("\xFF"):rep(8) .. "\x7F" }

  it("knows the varint of an integer, and its length, on both sides of each border", function()
    for n, bytes in pairs(borders) do
      assert.equal(bytes, framing.join(n), n)
      assert.equal(#bytes, framing.size(n), n)
    end
  end)

  it("joins strings as they are, digits too, and integers as varints", function()
    assert.equal("\x0A\x80\x0112", framing.join("\x0A", 128, "12", ""))
    assert.equal("", framing.join())
  end)
end)
