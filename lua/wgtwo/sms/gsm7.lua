--- The alphabet of SMS, and how a text is cut into fragments.
--
-- A text whose characters are all in the GSM 7-bit default alphabet (3GPP TS 23.038) takes one septet a character, two
-- for those of the extension table, which follow an escape. Any other text goes as UCS-2: one 16-bit unit a character,
-- two for those outside the BMP. A text too long for one SMS is cut, and a cut falls neither between an escape and its
-- character nor between the two units of a surrogate pair, so a fragment may be one short of full.
--
-- @module wgtwo.sms.gsm7

local limits = require "wgtwo.limits"

local gsm7 = {}

local basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
  .. "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
local extension = "\f^{}\\[~]|€"

local septets = {} -- code point → 1 or 2
for _, code in utf8.codes(basic) do septets[code] = 1 end
for _, code in utf8.codes(extension) do septets[code] = 2 end

--- How many septets a character takes.
-- @tparam int code its code point
-- @treturn ?int 1 or 2; nil for a character that the alphabet does not have
-- @usage gsm7.septets(utf8.codepoint("€")) --> 2
function gsm7.septets(code)
  return septets[code]
end

--- How many UTF-16 units a character takes.
local function units(code)
  return code > 0xFFFF and 2 or 1
end

--- How many fragments hold characters of these sizes, when none may be cut in two.
-- @tparam {int,...} sizes septets or units, one entry a character
-- @tparam int total their sum
-- @tparam int single what one SMS holds alone
-- @tparam int part what it holds as a fragment
local function count_fragments(sizes, total, single, part)
  if total <= single then return 1 end
  local fragments, used = 1, 0
  for _, size in ipairs(sizes) do
    if used + size > part then fragments, used = fragments + 1, 0 end
    used = used + size
  end
  return fragments
end

--- What a text becomes when it is sent.
-- @tparam string text UTF-8
-- @treturn ?table `encoding` ("GSM-7" or "UCS-2"), `characters` (as the platform counts: one outside the BMP counts 2),
--   `fragments` (the number of SMS), `units` (septets or 16-bit units in all); nil where the text is not valid UTF-8
-- @usage gsm7.measure("Hei") --> { encoding = "GSM-7", characters = 3, fragments = 1, units = 3 }
function gsm7.measure(text)
  if not utf8.len(text) then return nil end
  local in_septets, in_units, septets_total, units_total = {}, {}, 0, 0
  local gsm = true
  for _, code in utf8.codes(text) do
    local size = septets[code]
    if size and gsm then
      in_septets[#in_septets + 1] = size
      septets_total = septets_total + size
    else
      gsm = false
    end
    in_units[#in_units + 1] = units(code)
    units_total = units_total + units(code)
  end
  local sms = limits.sms
  if gsm then
    return { encoding = "GSM-7", characters = units_total, units = septets_total,
      fragments = count_fragments(in_septets, septets_total, sms.gsm7_single, sms.gsm7_part) }
  end
  return { encoding = "UCS-2", characters = units_total, units = units_total,
    fragments = count_fragments(in_units, units_total, sms.ucs2_single, sms.ucs2_part) }
end

return gsm7
