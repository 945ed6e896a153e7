local gsm7 = require("wgtwo.sms.gsm7")
local wgtwo = require("wgtwo")

local fragments = wgtwo.sms.fragments

describe("sms.fragments", function()
  local function check(text, encoding, characters, count)
    assert.same({ encoding = encoding, characters = characters, fragments = count }, fragments(text))
  end

  it("counts GSM-7: 160 alone, 153 a part", function()
    check("Hei", "GSM-7", 3, 1)
    check(("a"):rep(160), "GSM-7", 160, 1)
    check(("a"):rep(161), "GSM-7", 161, 2)
    check(("a"):rep(306), "GSM-7", 306, 2)
    check(("a"):rep(307), "GSM-7", 307, 3)
    check(("a"):rep(2000), "GSM-7", 2000, 14)
  end)

  it("counts characters of the extension table twice, and does not cut them", function()
    check(("€"):rep(80), "GSM-7", 80, 1)
    check(("€"):rep(81), "GSM-7", 81, 2)
    check(("a"):rep(152) .. "€" .. ("a"):rep(151), "GSM-7", 304, 2)
    check(("a"):rep(152) .. "€" .. ("a"):rep(152), "GSM-7", 305, 3) -- 306 septets, but the first part has just 152
  end)

  it("counts UCS-2: 70 alone, 67 a part", function()
    check("ж", "UCS-2", 1, 1)
    check(("ж"):rep(70), "UCS-2", 70, 1)
    check(("ж"):rep(71), "UCS-2", 71, 2)
    check(("ж"):rep(134), "UCS-2", 134, 2)
    check(("ж"):rep(135), "UCS-2", 135, 3)
    check("Grüße – bis später", "UCS-2", 18, 1) -- the dash is not in the alphabet
  end)

  it("counts a character outside the BMP twice, and does not cut it", function()
    check("👍", "UCS-2", 2, 1)
    check(("👍"):rep(35), "UCS-2", 70, 1)
    check(("👍"):rep(36), "UCS-2", 72, 2)
    check(("👍"):rep(66), "UCS-2", 132, 2)
    check(("👍"):rep(67), "UCS-2", 134, 3) -- each part has 66
    check(("ж"):rep(66) .. "👍" .. ("ж"):rep(66), "UCS-2", 134, 3)
  end)

  it("knows the whole alphabet of 3GPP TS 23.038", function()
    local basic, extension = 0, 0
    for code = 0, 0x10FFFF do
      local septets = gsm7.septets(code)
      if septets == 1 then basic = basic + 1 elseif septets == 2 then extension = extension + 1 end
    end
    assert.equal(127, basic) -- 128 without the escape
    assert.equal(10, extension)
    for _, code in utf8.codes("@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\r\n ") do
      assert.equal(1, gsm7.septets(code), utf8.char(code))
    end
    for _, code in utf8.codes("^{}\\[~]|€\f") do assert.equal(2, gsm7.septets(code), utf8.char(code)) end
    for _, code in utf8.codes("`çáΑ\t") do assert.is_nil(gsm7.septets(code), utf8.char(code)) end
  end)

  it("takes an empty text, and refuses what is no text", function()
    check("", "GSM-7", 0, 1)
    local size, err = fragments("\255")
    assert.is_nil(size)
    assert.equal("sms", err.kind)
    assert.matches("UTF%-8", tostring(err))
    assert.error_matches(function() fragments(12) end, "a text is needed")
  end)
end)
