(WITH RECURSIVE
   bytes(at, byte) AS (
     SELECT 0, 128
     UNION ALL
     SELECT at + 1, instr('123456789ABCDEF', substr(hex(BLOB), 2 * at + 1, 1)) * 16
                  + instr('123456789ABCDEF', substr(hex(BLOB), 2 * at + 2, 1))
     FROM bytes WHERE at < length(BLOB)),
   integers(at, value, shift, whole) AS (
     SELECT 0, 0, 0, 0
     UNION ALL
     SELECT bytes.at,
            iif(whole, 0, value) | ((byte & 127) << iif(whole, 0, shift)),
            iif(whole, 0, shift) + 7,
            byte < 128
     FROM integers JOIN bytes ON bytes.at = integers.at + 1)
 SELECT json_group_array(value) FROM (SELECT value FROM integers WHERE whole ORDER BY at))
